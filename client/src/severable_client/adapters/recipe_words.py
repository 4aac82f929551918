"""A recipe in plain words, for whoever decides whether to sign a contract. No torch is needed for reading one."""

from severable_diffusion.architecture import AnyArchitecture, TransformerArchitecture
from severable_diffusion.errors import RecipeError
from severable_diffusion.recipe import Recipe
from severable_trust.canonical import decode
from severable_trust.errors import TrustError

_MODES = {1: "grey", 3: "RGB"}


def describe_recipe(data: bytes | None) -> str:
    """Return what training by a recipe would do, one sentence a line; says so if this version cannot follow it."""
    if data is None:
        return "  it is not held here; run `severable-client contract list` to fetch it"
    try:
        recipe = Recipe.from_dict(decode(data, "recipe"))
    except (RecipeError, TrustError) as error:
        return f"  this version cannot follow it, do not sign: {error}"
    image, budget = recipe.image, recipe.training
    lines = [f"{recipe.name}: a diffusion model of {image.size}x{image.size} {_MODES[image.channels]} images."]
    lines.append(
        f"Training: {budget.epochs} passes over your images, at most {budget.max_steps} steps of {budget.batch}."
    )
    if budget.held_out:
        lines.append(
            f"Held out: {budget.held_out:.0%} of your images are never trained on; they are asked every "
            f"{budget.check_every} steps, and {budget.patience} answers in a row that are no better end the training."
        )
    lines.append(
        f"What leaves: the network's weights ({_network(recipe.architecture)}), its configuration, a manifest."
    )
    lines.append(f"The coordinator draws {recipe.bank.images} synthetic images from it to train its router.")
    schedule = f"{recipe.process.schedule} schedule of {recipe.process.steps} steps"
    lines.append(f"Noise: {schedule}; the network predicts {recipe.parametrization}.")
    return "\n".join(f"  {line}" for line in lines)


def _network(parts: AnyArchitecture) -> str:
    if isinstance(parts, TransformerArchitecture):
        return f"a transformer of {parts.layers} layers of width {parts.width}, patches of {parts.patch}x{parts.patch}"
    return f"levels of widths {', '.join(map(str, parts.block_out_channels))}"
