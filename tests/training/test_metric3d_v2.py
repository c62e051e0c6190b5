"""The parts of Metric3D v2, apart from the golden data's last maps: tokens, positions, state, refinements."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import WIDTH, small_v2
from test_golden_metric3d import ENTRIES, FOLDER, assert_map, seeded_image, seeded_network, statistics
from torch.nn import functional

from training.models.depth_normal_refinement import ConvexUpsampling, ConvGru
from training.models.dpt import ConvBlock, rectify_fused_levels
from training.models.raft_dpt import BINS, DepthBins, UnitNormal
from training.models.vit import Attention, SwiGlu


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.golden
@pytest.mark.parametrize(
    "entry",
    [e for e in ENTRIES if e["model"].startswith("vit") and e["height"] * e["width"] < 10**5],
    ids=lambda entry: entry["file"],
)
def test_every_refinement_and_the_maps_on_the_way(entry) -> None:
    golden = dict(np.load(FOLDER / entry["file"]))
    network = seeded_network(entry["model"])
    image = seeded_image(entry["height"], entry["width"], entry["block"], entry["seed"])
    with torch.inference_mode():
        tokens = network.encoder(image)
        fused = network.decoder.decoder_mono(rectify_fused_levels(network.decoder.token2feature(tokens)))
        refinements = network.refinements(image)
    np.testing.assert_allclose(tokens.levels[0][0, ::16, ::4].numpy(), golden["enc_feat"], atol=1e-4)
    np.testing.assert_allclose(fused[0, ::4, ::8, ::8].numpy(), golden["dec_feat"], atol=1e-4)
    for index, prediction in enumerate(refinements):
        expected = golden[f"depth_iter{index}_stats"]
        np.testing.assert_allclose(statistics(prediction.depth[0])[0], expected, atol=1e-3)
    assert_map(refinements[-1].depth[0], golden, "depth", entry["stride"], 1e-3)


def test_a_grid_of_the_trained_size_has_the_trained_positions() -> None:
    encoder = small_v2().encoder
    assert encoder.position_embedding(37, 37) is encoder.pos_embed


def test_positions_between_patches_are_sampled_with_the_offset_scale() -> None:
    """On a ramp, patch k sees (k + 0.5) * 37 / (n + 0.1) - 0.5; torch's bicubic strays from a ramp by 0.05."""
    encoder = small_v2().encoder
    ramp = torch.arange(37.0)[:, None].expand(37, 37).reshape(1, -1, 1)
    with torch.no_grad():
        encoder.pos_embed.copy_(torch.cat([torch.zeros(1, 1, 1), ramp], dim=1).expand(-1, -1, WIDTH))
    rows, columns = 22, 14
    found = encoder.position_embedding(rows, columns).detach()[0, 1:, 0].reshape(rows, columns)
    centres = torch.arange(rows)[:, None] + 0.5
    assert (found - (centres * 37 / (rows + 0.1) - 0.5))[2:-2].abs().max() < 0.06
    assert (found - (centres * 37 / rows - 0.5))[2:-2].abs().max() > 0.15


def test_a_folded_position_changes_nothing_and_serves_its_own_size_only() -> None:
    network, image = small_v2(), random(1, 3, 56, 84)
    with torch.inference_mode():
        before, other_before = network(image).depth, network(image[..., :56]).depth
        network.encoder.fold_position(4, 6)
        torch.testing.assert_close(network(image).depth, before)
        torch.testing.assert_close(network(image[..., :56]).depth, other_before)


def test_attention_is_softmax_of_scaled_products() -> None:
    attention = Attention(WIDTH, heads=2).eval()
    x = random(2, 5, WIDTH)
    query, key, value = attention.qkv(x).reshape(2, 5, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4)
    weights = (query @ key.transpose(-2, -1) / math.sqrt(WIDTH // 2)).softmax(-1)
    expected = attention.proj((weights @ value).transpose(1, 2).reshape(2, 5, WIDTH))
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)


def test_the_gated_layer_of_the_giant_is_as_wide_as_its_checkpoint() -> None:
    with torch.device("meta"):
        layer = SwiGlu(1536)
    assert layer.w12.out_features == 8192
    x = random(1, 3, WIDTH)
    small = SwiGlu(WIDTH)
    first, second = small.w12(x).chunk(2, dim=-1)
    torch.testing.assert_close(small(x), small.w3(first * torch.sigmoid(first) * second))


def test_the_giant_reads_four_depths_and_the_others_the_normed_end() -> None:
    image = random(1, 3, 28, 28)
    with torch.no_grad():
        levels = small_v2(gated=True).encoder(image).levels
        assert len(levels) == 4
        assert not any(torch.equal(levels[0], other) for other in levels[1:])
        small = small_v2().encoder
        first, *others = small(image).levels
    assert all(torch.equal(first, other) for other in others)
    normed = ((first - small.norm.bias) / small.norm.weight).detach()
    torch.testing.assert_close(normed.mean(-1), torch.zeros(1, 9), atol=1e-5, rtol=0)


def test_every_norm_has_its_own_epsilon() -> None:
    """Swapped, depth moves by less than the golden data's tolerance allows, or little more."""
    network = small_v2()
    found = {
        half: {m.eps for m in part.modules() if isinstance(m, torch.nn.LayerNorm)}
        for half, part in (("encoder", network.encoder), ("decoder", network.decoder))
    }
    assert found == {"encoder": {1e-6}, "decoder": {1e-5}}


def test_one_norm_is_known_by_two_names() -> None:
    state = small_v2().state_dict()
    aliases = [name for name in state if ".downsample.1." in name]
    assert len(aliases) == 12
    for name in aliases:
        assert state[name].data_ptr() == state[name.replace("downsample.1", "norm3")].data_ptr()


def test_a_fusion_block_keeps_the_rectified_input() -> None:
    block = ConvBlock(4)
    torch.nn.init.zeros_(block.conv2.weight)
    torch.nn.init.zeros_(block.conv2.bias)
    x = random(1, 4, 5, 6)
    torch.testing.assert_close(block(torch.relu(x)), torch.relu(x))


@given(bin_index=st.integers(0, BINS - 1))
def test_a_sure_cell_has_the_depth_of_its_bin(bin_index: int) -> None:
    logits = torch.zeros(1, BINS, 1, 1)
    logits[0, bin_index] = 100.0
    depth = 0.1 * 2000 ** (bin_index / (BINS - 1))
    assert 100 * DepthBins()(logits).item() + 200 == pytest.approx(depth, rel=1e-3, abs=2e-5)


@given(seed=st.integers(0, 2**16), size=st.floats(1e-3, 1e3))
def test_normals_are_unit_and_kappa_is_positive(seed: int, size: float) -> None:
    out = UnitNormal()(size * random(1, 4, 3, 4, seed=seed))
    torch.testing.assert_close(out[:, :3].norm(dim=1), torch.ones(1, 3, 4), atol=1e-5, rtol=0)
    assert (out[:, 3] >= 0.01 - 1e-6).all()


@given(seed=st.integers(0, 2**16), rows=st.integers(1, 5), columns=st.integers(1, 5))
@settings(deadline=None)
def test_upsampling_is_torch_s_unfold_with_convex_weights(seed: int, rows: int, columns: int) -> None:
    state, logits = random(2, 6, rows, columns, seed=seed), random(2, 144, rows, columns, seed=seed + 1)
    weights = logits.reshape(2, 1, 9, 4, 4, rows, columns).softmax(2)
    patches = functional.unfold(state, 3, padding=1).reshape(2, 6, 9, 1, 1, rows, columns)
    fine = (weights * patches).sum(2).permute(0, 1, 4, 2, 5, 3).reshape(2, 6, 4 * rows, 4 * columns)
    torch.testing.assert_close(ConvexUpsampling()(state, logits), fine, atol=1e-6, rtol=1e-5)


def test_a_closed_gate_keeps_the_hidden_state_and_an_open_one_forgets_it() -> None:
    unit = ConvGru(8, 4)
    hidden, x = torch.tanh(random(1, 8, 3, 3)), random(1, 4, 3, 3, seed=1)
    context = [torch.zeros(1, 8, 3, 3)] * 3
    closed = unit(hidden, [context[0] - 1e4, *context[1:]], x)
    torch.testing.assert_close(closed, hidden)
    opened = [context[0] + 1e4, context[1] - 1e4, context[2]]
    torch.testing.assert_close(unit(hidden, opened, x), unit(-hidden, opened, x))


@settings(deadline=None, max_examples=8)
@given(rows=st.integers(1, 3), columns=st.integers(1, 3), batch=st.integers(1, 2), gated=st.booleans())
def test_maps_have_the_size_of_the_image(rows: int, columns: int, batch: int, gated: bool) -> None:
    image = random(batch, 3, 28 * rows, 28 * columns)
    with torch.inference_mode():
        depth, confidence, normal_kappa = small_v2(gated)(image)
    assert depth.shape == confidence.shape == (batch, 1, 28 * rows, 28 * columns)
    assert normal_kappa is not None and normal_kappa.shape == (batch, 4, 28 * rows, 28 * columns)
    assert ((depth >= 0.1) & (depth <= 200)).all()


def test_other_sizes_are_resized_up_and_odd_patch_counts_shrink_the_maps() -> None:
    network = small_v2()
    with torch.inference_mode():
        assert network(random(1, 3, 50, 71)).depth.shape == (1, 1, 56, 84)
        assert network(random(1, 3, 42, 70)).depth.shape == (1, 1, 40, 68)


def test_images_of_a_batch_do_not_see_each_other() -> None:
    network, images = small_v2(), random(2, 3, 56, 84)
    with torch.inference_mode():
        together = network(images).depth
        alone = torch.cat([network(image[None]).depth for image in images])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=1e-5)


def test_refinements_end_with_the_prediction() -> None:
    network, image = small_v2(), random(1, 3, 56, 56)
    with torch.inference_mode():
        every = network.refinements(image)
        last = network(image)
    assert len(every) == 2
    assert not torch.equal(every[0].depth, every[1].depth)
    torch.testing.assert_close(every[-1].depth, last.depth)
