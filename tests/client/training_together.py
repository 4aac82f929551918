"""One training by several processes, never interrupted: what tests compare others with.

    python -P tests/client/training_together.py HOME JOB SIZE

It trains as the job's worker would, in a folder of its own, and writes the weights to HOME/together-SIZE.
"""

import sys
from pathlib import Path

from severable_client.adapters.prepared_images import prepare
from severable_client.bootstrap import open_home
from severable_client.peers import Share, together
from severable_client.placement import Placement
from severable_client.training import read_recipe, recipe_bytes
from severable_diffusion import network
from severable_diffusion.training import Trainer


def main(root: Path, job_id: str, size: int) -> None:
    home = open_home(root)
    job = home.jobs.get(job_id)
    assert job is not None
    recipe = read_recipe(recipe_bytes(home.recipes, job.request.recipe))
    images = prepare(home, recipe, lambda _done, _total: None)
    place = Placement(processes=size)
    share = Share(
        recipe=recipe,
        images_NCHW=images.images_NCHW,
        label_N=None,
        seed=job.seed,
        plan=place.plan(),
        size=size,
        folder=root,
        images="",
    )
    with together(share, place.plan) as team:
        trainer = Trainer(recipe, images.images_NCHW, job.seed, plan=place.plan(), team=team)
        (root / f"together-{size}").write_bytes(network.dump(trainer.run().state_dict))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
