import numpy as np
import pytest
import torch
from scipy import linalg

from severable_diffusion.frechet import frechet_distance, train_feature_network
from severable_diffusion.memorization import memorized_share


def normals(count: int, size: int, seed: int) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whitened(count: int, size: int, seed: int) -> torch.Tensor:
    """Samples whose mean is exactly 0 and whose covariance is exactly the identity."""
    x_ND = normals(count, size, seed)
    x_ND = x_ND - x_ND.mean(dim=0)
    white_DN: torch.Tensor = torch.linalg.solve_triangular(
        torch.linalg.cholesky(torch.cov(x_ND.T)), x_ND.T, upper=False
    )
    return white_DN.T


def test_the_frechet_distance_of_known_gaussians_is_the_closed_form() -> None:
    a_ND = whitened(200, 3, 0)
    scale_D, shift_D = torch.tensor([2.0, 1.0, 0.5]).double(), torch.tensor([3.0, 0.0, 4.0]).double()
    expected = float(shift_D.square().sum() + (scale_D - 1.0).square().sum())
    assert frechet_distance(a_ND, whitened(300, 3, 1) * scale_D + shift_D) == pytest.approx(expected)


@pytest.mark.parametrize(("a", "b", "size"), [(90, 70, 5), (9, 70, 12), (40, 7, 12), (6, 5, 12)])
def test_the_frechet_distance_agrees_with_the_matrix_root_of_scipy(a: int, b: int, size: int) -> None:
    a_ND, b_ND = normals(a, size, 0) @ normals(size, size, 2), normals(b, size, 1) @ normals(size, size, 3) + 0.5
    assert frechet_distance(a_ND, b_ND) == pytest.approx(of_scipy(a_ND, b_ND), rel=1e-6)


def of_scipy(a_ND: torch.Tensor, b_ND: torch.Tensor) -> float:
    a, b = np.cov(a_ND.numpy().T), np.cov(b_ND.numpy().T)
    root = linalg.sqrtm(a @ b)
    shift = a_ND.mean(dim=0).numpy() - b_ND.mean(dim=0).numpy()
    return float(shift @ shift + np.trace(a + b - 2.0 * np.real(root)))


def test_the_frechet_distance_of_a_set_to_itself_is_nothing() -> None:
    a_ND = normals(50, 4, 0)
    assert frechet_distance(a_ND, a_ND) == pytest.approx(0.0, abs=1e-9)


def test_one_sample_has_no_frechet_distance() -> None:
    with pytest.raises(ValueError, match="at least two"):
        frechet_distance(normals(1, 2, 0), normals(5, 2, 0))


def test_the_feature_network_learns_and_repeats() -> None:
    label_N = torch.arange(120) % 2
    x_NCHW = torch.randn(120, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.3
    x_NCHW[:, :, :4] += (2.0 * label_N - 1.0).view(-1, 1, 1, 1)
    first, second = (train_feature_network(x_NCHW, label_N, seed=0, steps=25) for _ in range(2))
    assert first.accuracy(x_NCHW, label_N) > 0.95
    assert torch.equal(first.features(x_NCHW), second.features(x_NCHW))
    assert first.features(x_NCHW).shape == (120, 32)


def test_copies_count_as_memorized_and_fresh_samples_do_not() -> None:
    train_NCHW = normals(50, 64, 0).view(50, 1, 8, 8)
    fresh_NCHW = normals(30, 64, 1).view(30, 1, 8, 8)
    copies_NCHW = train_NCHW[:10] + 1e-3
    assert memorized_share(fresh_NCHW, train_NCHW) == 0.0
    assert memorized_share(torch.cat([fresh_NCHW, copies_NCHW]), train_NCHW) == 0.25


def test_a_copy_of_a_doubled_training_image_does_not_count() -> None:
    train_NCHW = torch.zeros(2, 1, 2, 2)
    assert memorized_share(torch.full((1, 1, 2, 2), 0.1), train_NCHW) == 0.0


def test_memorization_needs_two_training_images() -> None:
    with pytest.raises(ValueError, match="two training images"):
        memorized_share(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
