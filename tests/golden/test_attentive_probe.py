"""The attentive probe against the outputs of V-JEPA's own."""

import torch

from vdit.models.probes.attentive import AttentiveConfig, AttentiveProbe

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def cases(arrays):
    """Names, state dicts and other arrays of every stored probe."""
    for name in sorted({key.split("/")[0] for key in arrays}):
        own = {key.removeprefix(f"{name}/"): arrays[key] for key in arrays if key.startswith(name)}
        weights = {key[3:]: torch.from_numpy(own[key]) for key in own if key.startswith("sd/")}
        yield name, weights, own


def build(weights, num_heads):
    """A probe of the sizes of a state dict, with its weights."""
    num_classes, channels = weights["linear.weight"].shape
    blocks = {name.split(".")[2] for name in weights if name.startswith("pooler.blocks.")}
    config = AttentiveConfig(channels, num_classes, num_heads, depth=1 + len(blocks))
    probe = AttentiveProbe(config)
    probe.load_state_dict(weights)
    return probe.eval()


@torch.no_grad()
def test_pooled_and_logits(golden):
    for name, weights, arrays in cases(golden("probing/vjepa_attentive_probe")):
        probe = build(weights, int(arrays["heads"]))
        tokens = torch.from_numpy(arrays["x"])
        expected = torch.from_numpy(arrays["pooled"])[:, 0]
        torch.testing.assert_close(probe.pooler(tokens), expected, **TOLERANCE, msg=name)
        features = tokens[..., None, None]  # as many steps of one cell
        expected = torch.from_numpy(arrays["logits"])
        torch.testing.assert_close(probe(features), expected, **TOLERANCE, msg=name)
