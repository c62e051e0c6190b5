"""The parts of Metric3D v1, apart from the golden data: bins, positions, borders, sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import TrainingError
from training.models.convnext import ChannelNorm, ConvNext
from training.models.hourglass import BINS, Hourglass, SingleBlock, expected_depth
from training.models.metric3d_v1 import Metric3dV1
from training.seeded_weights import seeded_weights


def small_network() -> Metric3dV1:
    network = Metric3dV1(widths=(8, 16, 24, 32), depths=(1, 1, 2, 1), decoder_channels=(8, 16, 24))
    network.load_state_dict(seeded_weights(network.state_dict()))
    return network.eval()


@given(bin_index=st.integers(0, BINS - 1))
def test_a_sure_cell_has_the_depth_of_its_bin(bin_index: int) -> None:
    """Bins are spaced evenly in log depth from 0.3 to 150."""
    logits = torch.zeros(1, BINS, 1, 1)
    logits[0, bin_index] = 100.0
    depth = 0.3 * (150.0 / 0.3) ** (bin_index / (BINS - 1))
    assert expected_depth(logits).item() == pytest.approx(depth, rel=1e-5)


@given(seed=st.integers(0, 2**16), spread=st.floats(0.01, 50.0))
def test_depth_stays_between_the_outermost_bins(seed: int, spread: float) -> None:
    logits = spread * torch.randn(2, BINS, 3, 4, generator=torch.Generator().manual_seed(seed))
    depth = expected_depth(logits)
    assert depth.shape == (2, 1, 3, 4)
    assert depth.min() >= 0.3 - 1e-6
    assert depth.max() <= 150.0 + 1e-4


def test_an_undecided_cell_has_the_mean_of_the_bins() -> None:
    bins = 0.3 * (150.0 / 0.3) ** (torch.arange(BINS, dtype=torch.float64) / (BINS - 1))
    assert expected_depth(torch.zeros(1, BINS, 1, 1)).item() == pytest.approx(bins.mean().item(), rel=1e-5)


def test_3x3_blocks_reflect_the_border() -> None:
    """A constant image has no border to see; padded with zeros, its edge would differ."""
    block = SingleBlock(3, 4, kernel=3)
    out = block(torch.full((1, 3, 5, 6), 0.7))
    assert torch.allclose(out, out[:, :, 2:3, 2:3].expand_as(out), atol=1e-6)


def test_channel_norm_leaves_zero_mean_and_unit_variance_in_every_pixel() -> None:
    features = 5 + 3 * torch.randn(2, 16, 4, 5, generator=torch.Generator().manual_seed(0))
    normed = ChannelNorm(16, eps=1e-6)(features)
    assert normed.shape == features.shape
    assert normed.mean(1).abs().max() < 1e-5
    assert (normed.var(1, unbiased=False) - 1).abs().max() < 1e-4


def test_every_norm_of_the_encoder_has_the_official_epsilon() -> None:
    """1e-5 in its place moves depth by less than the golden data's tolerance, so only this test sees it."""
    norms = [module for module in small_network().modules() if isinstance(module, torch.nn.LayerNorm)]
    assert len(norms) == 5 + 4  # one in each block, one before each of three halvings and one after the stem
    assert {norm.eps for norm in norms} == {1e-6}


def test_encoder_strides() -> None:
    features = ConvNext((8, 16, 24, 32), (1, 1, 1, 1))(torch.zeros(1, 3, 64, 96))
    assert [tuple(f.shape[1:]) for f in features] == [(8, 16, 24), (16, 8, 12), (24, 4, 6), (32, 2, 3)]


def test_hourglass_keeps_the_size() -> None:
    assert Hourglass(8).eval()(torch.zeros(1, 8, 8, 16)).shape == (1, 257, 8, 16)


@settings(deadline=None, max_examples=5)
@given(rows=st.integers(1, 3), columns=st.integers(1, 3), batch=st.integers(1, 2))
def test_maps_have_the_size_of_the_image(rows: int, columns: int, batch: int) -> None:
    image = torch.randn(batch, 3, 32 * rows, 32 * columns, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        prediction = small_network()(image)
    assert prediction.depth.shape == prediction.confidence.shape == (batch, 1, 32 * rows, 32 * columns)
    assert prediction.normal_kappa is None
    assert torch.isfinite(prediction.depth).all()


def test_images_of_a_batch_do_not_see_each_other() -> None:
    network = small_network()
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        together = network(images).depth
        alone = torch.cat([network(image[None]).depth for image in images])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-5)


def test_the_residual_sees_where_a_cell_is() -> None:
    """Its input is depth, column, row, features; the indices are whole pixels at a quarter of the size."""
    network = small_network()
    seen: list[torch.Tensor] = []
    decoder = network.depth_model.decoder
    decoder.get_submodule("conv_up_2").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        network(torch.zeros(2, 3, 32, 64))
    assert seen[0].shape == (2, 3 + 256, 8, 16)
    assert (seen[0][:, 1] == torch.arange(16.0).expand(2, 8, 16)).all()
    assert (seen[0][:, 2] == torch.arange(8.0)[:, None].expand(2, 8, 16)).all()


@pytest.mark.parametrize("size", [(64, 100), (50, 64)])
def test_a_size_that_is_no_multiple_of_the_stride(size: tuple[int, int]) -> None:
    with pytest.raises(TrainingError, match=f"{size[0]}x{size[1]} px; letterbox it to multiples of 32"):
        small_network()(torch.zeros(1, 3, *size))
