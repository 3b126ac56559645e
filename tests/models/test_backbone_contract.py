"""What every backbone promises, on tiny networks of every family."""

import copy
import importlib
from pathlib import Path

import pytest
import torch

from tests.models.tiny_backbones import TINY
from vdit import backbone_loading
from vdit.backbone_loading.families import BACKBONES, FAMILIES
from vdit.build import build_backbone
from vdit.frame_fit import plan_fit
from vdit.models.backbones.latent_unet import LatentUnetBackbone
from vdit.models.backbones.modelscope import ModelScopeBackbone
from vdit.models.backbones.vision_encoder import VisionEncoder, nearest_multiple


@pytest.fixture(scope="module", params=TINY)
def backbone(request):
    return TINY[request.param]()


@pytest.fixture
def precise(backbone):
    """UNets in double precision: norms over the few values of a tiny map amplify rounding."""
    return copy.deepcopy(backbone).double() if is_unet(backbone) else backbone


@pytest.fixture
def video(backbone, generator):
    return make_video(backbone, generator, 32, 64)


def make_video(backbone, generator, *size, batch=2):
    steps = 3 if backbone.frame_multiple == 1 else 2
    frames = backbone.frame_offset + steps * backbone.frame_multiple
    return torch.rand(batch, frames, 3, *size, generator=generator)


def is_unet(backbone):
    return isinstance(backbone, LatentUnetBackbone)


def takes_noise(backbone):
    return not isinstance(backbone, VisionEncoder)


def noisy_blocks(backbone):
    """Blocks behind the noise: those of a VAE's encoder lie before it."""
    return [name for name in backbone.blocks if not name.startswith("vae")]


def takes_text(backbone):
    return hasattr(backbone, "text_dim")


def features(backbone, video, seed=0, **options):
    defaults = {"timestep": 15} if takes_noise(backbone) else {}
    options = {"blocks": list(backbone.blocks)} | defaults | options
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return backbone.extract(video, generator=generator, **options)


def without_chance(backbone, video, noise):
    """What `extract` takes so that nothing is drawn; `noise` is [B, T', C, h, w]."""
    encoded = backbone.encode(video)
    if encoded.latent_logvar is not None:
        encoded.posterior_noise = torch.zeros_like(encoded.latent_mean)
    return {"video": encoded} | ({"noise": noise} if takes_noise(backbone) else {})


def draw(backbone, video, generator):
    return torch.randn(backbone.encode(video).latent_mean.shape, generator=generator)


def cells(backbone, info, size):
    """Rows and columns of a map: on a resized grid of patches, or with parts of a cell."""
    if hasattr(backbone, "patch_size"):
        return tuple(nearest_multiple(side, info.stride) // info.stride for side in size)
    return tuple(-(-side // info.stride) for side in size)


@pytest.mark.parametrize("rows_columns", [(4, 8), (5, 7)])
def test_shapes_follow_the_table(backbone, generator, rows_columns):
    multiple = backbone.size_multiple
    step = multiple if multiple > 1 else 9  # no multiple of anything where any size will do
    size = tuple(step * count for count in rows_columns)
    video = make_video(backbone, generator, *size)
    found = features(backbone, video)
    assert list(found) == list(backbone.blocks)
    for name, feature in found.items():
        info = backbone.blocks[name]
        steps = backbone.num_feature_frames(video.shape[1])
        assert feature.shape == (2, steps, info.channels, *cells(backbone, info, size)), name
        assert info.temporal_stride == backbone.frame_multiple
        assert feature.isfinite().all()


@pytest.mark.parametrize("size", [(480, 854), (256, 256), (512, 896)])
def test_sizes_of_the_papers(backbone, size):
    """Shapes alone: without numbers, frames of any size cost nothing."""
    shell = copy.deepcopy(backbone)
    if isinstance(shell, ModelScopeBackbone):
        shell.image_encoder = None  # resizes frames by PIL
    shell.to("meta")
    padded = plan_fit(*size, shell.size_multiple).padded
    frames = shell.frame_offset + 2 * shell.frame_multiple
    found = features(shell, torch.empty(1, frames, 3, *padded, device="meta"))
    for name, feature in found.items():
        info = shell.blocks[name]
        steps = shell.num_feature_frames(frames)
        assert feature.shape == (1, steps, info.channels, *cells(shell, info, padded)), name


def test_weights_are_frozen_and_stay_in_eval_mode(backbone):
    backbone.train()
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(module.training for module in backbone.modules())


def test_one_seed_one_result(backbone, video):
    first, again, other = (features(backbone, video, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    differ = [not torch.equal(first[name], other[name]) for name in noisy_blocks(backbone)]
    assert all(differ) if takes_noise(backbone) else not any(differ)


def test_clips_of_a_batch_do_not_see_each_other(precise, video, generator):
    noise = draw(precise, video, generator)
    both, second = {}, {}
    if takes_text(precise):
        text = torch.randn(2, 5, precise.text_dim, generator=generator)
        both, second = {"text": text}, {"text": text[1:]}
    together = features(precise, **without_chance(precise, video, noise), **both)
    single = features(precise, **without_chance(precise, video[1:], noise[1:]), **second)
    for name, feature in together.items():
        torch.testing.assert_close(feature[1:], single[name], rtol=1e-5, atol=1e-5)


def test_frames_keep_their_order(precise, video, generator):
    if precise.frame_multiple > 1:
        pytest.skip("a feature frame spans several frames")
    encoded, turned = precise.encode(video), precise.encode(video.flip(1))
    torch.testing.assert_close(turned.latent_mean, encoded.latent_mean.flip(1))
    if not precise.temporal:
        noise = draw(precise, video, generator)
        straight = features(precise, **without_chance(precise, video, noise))
        back = features(precise, **without_chance(precise, video.flip(1), noise.flip(1)))
        for name, feature in straight.items():
            assert not torch.allclose(feature[:, 0], feature[:, 2]), name
            torch.testing.assert_close(back[name], feature.flip(1), rtol=1e-5, atol=1e-5)


def test_early_stop_equals_the_full_pass_and_runs_less(backbone, video):
    ran = []
    leaves = [module for module in backbone.modules() if not list(module.children())]
    hooks = [leaf.register_forward_pre_hook(lambda leaf, _: ran.append(leaf)) for leaf in leaves]
    full = features(backbone, video)
    counts = []
    for name in backbone.blocks:
        ran.clear()
        assert torch.equal(features(backbone, video, blocks=[name])[name], full[name])
        counts.append(len(ran))
    for hook in hooks:
        hook.remove()
    assert counts == sorted(set(counts)), "a later block runs more of the network"


def test_noise_from_outside_is_used(backbone, video, generator):
    noise = draw(backbone, video, generator)
    if not takes_noise(backbone):
        for name, value in {"timestep": 5, "noise": noise}.items():
            with pytest.raises(ValueError, match=f"expected {name}=None: this network takes none"):
                features(backbone, video, **{name: value})
        return
    given = features(backbone, video, noise=noise)
    called = features(backbone, video, noise=lambda latents: noise * torch.ones_like(latents))
    other = features(backbone, video, noise=-noise)
    assert all(torch.equal(given[name], called[name]) for name in given)
    assert not any(torch.equal(given[name], other[name]) for name in noisy_blocks(backbone))
    clean = features(backbone, video, timestep=None)
    loud = features(backbone, video, timestep=None, noise=noise)
    assert all(torch.equal(clean[name], loud[name]) for name in clean)


def test_gradients_reach_text_and_noise(backbone, video, generator):
    if not takes_text(backbone):
        with pytest.raises(ValueError, match=r"expected text=None: .* got Tensor; leave `text`"):
            features(backbone, video, text=torch.zeros(2, 7, 16))
        return
    text = torch.randn(2, 5, backbone.text_dim, generator=generator, requires_grad=True)
    noise = draw(backbone, video, generator).requires_grad_()
    block = list(backbone.blocks)[-2]
    found = backbone.extract(video, blocks=[block], timestep=15, text=text, noise=noise)[block]
    (found * torch.randn(found.shape, generator=generator)).sum().backward()
    assert text.grad.abs().sum(dim=(1, 2)).gt(0).all()
    assert noise.grad.abs().sum() > 0


def test_every_feature_frame_shows_its_own_frame(backbone, generator):
    """Constant pictures of different colors, one of them exchanged: its features change most."""
    if backbone.frame_multiple > 1:
        pytest.skip("a feature frame spans several frames")
    colors = torch.rand(1, 4, 3, 1, 1, generator=generator)
    other = colors.clone()
    other[:, 2] = 1 - other[:, 2]
    size = 4 * backbone.size_multiple if backbone.size_multiple > 1 else 32
    found = []
    for each in (colors, other):
        video = each.expand(-1, -1, -1, size, size).contiguous()
        noise = draw(backbone, video, torch.Generator().manual_seed(0))
        found.append(features(backbone, **without_chance(backbone, video, noise)))
    before, after = found
    for name, feature in before.items():
        if backbone.temporal and name.startswith(("down", "mid", "up")):
            continue  # deep in a random video UNet, frames are mixed
        change = (after[name] - feature).abs().mean(dim=(0, 2, 3, 4))
        assert change.argmax() == 2, name
        assert backbone.temporal or not change[[0, 1, 3]].any()


def test_errors_say_what_to_do(backbone, video):
    last = list(backbone.blocks)[-1]
    with pytest.raises(ValueError, match=rf"expected blocks among .*{last}.*; got .up9."):
        features(backbone, video, blocks=["up9"])
    with pytest.raises(ValueError, match=r"expected a video \[B, T, 3, H, W\], got shape"):
        features(backbone, video[0])
    with pytest.raises(ValueError, match=r"expected (image=None|a conditioning image of shape)"):
        features(backbone, video, image=video[:, 0, :, :8])
    multiple = backbone.size_multiple
    if multiple > 1:
        odd = video[..., : multiple + 1, :]
        with pytest.raises(ValueError, match=f"multiples of {multiple}, got {multiple + 1}x64"):
            features(backbone, odd)
    if backbone.frame_multiple > 1:
        with pytest.raises(ValueError, match=r"expected .* n frames, got \d+; repeat the last"):
            features(backbone, video[:, :-1])
    if takes_noise(backbone):
        with pytest.raises(ValueError, match="expected noise of the latents' shape"):
            features(backbone, video, noise=torch.zeros(1))
        for timestep in (-1, 1_000_000):
            told = rf"expected a timestep in 0\.\.\d+, .* got {timestep}"
            with pytest.raises(ValueError, match=told):
                features(backbone, video, timestep=timestep)
    if takes_text(backbone):
        width = backbone.text_dim
        for wrong in ((2, 3, width + 1), (1, 3, width), (3, width)):
            with pytest.raises(ValueError, match=rf"expected text \[2, L, {width}\]"):
                features(backbone, video, text=torch.zeros(wrong))


# ---- names ---------------------------------------------------------------------------------------


def test_unknown_backbone():
    with pytest.raises(ValueError, match=f"among {', '.join(BACKBONES)}; got 'resnet'"):
        build_backbone("resnet")


@pytest.mark.parametrize("family", FAMILIES)
def test_table_of_names_agrees_with_the_files(family):
    module = importlib.import_module(f"vdit.backbone_loading.{family}")
    assert tuple(module.SOURCES) == FAMILIES[family]
    assert callable(module.load)


def test_every_file_is_in_the_table():
    folder = Path(backbone_loading.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "\nSOURCES" in path.read_text()}
    assert files == set(FAMILIES)


def test_readme_counts_families():
    text = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"{len(FAMILIES)} families with {len(BACKBONES)} names" in text
