"""ResNet and MobileNetV2 once more: slow, one product a tap, from the papers' rules."""

import torch


def slow_conv(weight, x, stride, dilation=1, padding="zeros"):
    """Add one product for each tap of the kernel, read from a padded copy."""
    reach = dilation * (weight.shape[-1] // 2)
    rows, columns = (reflected(size, reach, padding) for size in x.shape[-2:])
    padded = torch.cat([x, torch.zeros_like(x[:, :, :1])], dim=2)[:, :, rows]
    padded = torch.cat([padded, torch.zeros_like(padded[..., :1])], dim=3)[..., columns]
    total = 0
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            part = padded[:, :, i * dilation :, j * dilation :][..., : x.shape[2], : x.shape[3]]
            part = part[:, :, ::stride, ::stride]
            total = total + torch.einsum("oc,nchw->nohw", weight[:, :, i, j], part)
    return total


def reflected(size, reach, padding):
    """Index of each cell of a padded row; the index `size` stands for zero."""
    indices = torch.arange(-reach, size + reach)
    if padding == "zeros":
        return torch.where((indices < 0) | (indices >= size), size, indices)
    indices = indices.abs()
    return torch.where(indices >= size, 2 * (size - 1) - indices, indices)


def slow_norm(state, name, x):
    mean, variance, weight, bias = (
        state[f"{name}.{leaf}"].view(-1, 1, 1)
        for leaf in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias


def slow_pool(x):
    padded = torch.full((*x.shape[:2], x.shape[2] + 2, x.shape[3] + 2), -torch.inf)
    padded[:, :, 1:-1, 1:-1] = x
    parts = [
        padded[:, :, i:, j:][..., : x.shape[2], : x.shape[3]] for i in range(3) for j in range(3)
    ]
    return torch.stack(parts).amax(0)[:, :, ::2, ::2]


def slow_resnet(state, config, x):
    """Give the four stages' outputs, from the paper's rules."""
    padding = config.padding
    x = slow_norm(state, "bn1", slow_conv(state["conv1.weight"], x, 2, padding=padding)).relu()
    x, spread, outputs = slow_pool(x), 1, []
    for stage, count in enumerate(config.block_counts, start=1):
        for block in range(count):
            name = f"layer{stage}.{block}"
            shrinks = stage > 1 and block == 0
            keeps = shrinks and stage > 2 and config.last_stages != "strided"
            strides = [2 if shrinks and not keeps else 1, 1]
            spreads = [spread, spread]
            if keeps and config.last_stages == "dilated":
                spread *= 2
                spreads[1] = spread
            kernels = [("1", 1, 1)] if config.bottleneck else []
            first = "2" if config.bottleneck else "1"
            kernels += [(first, strides[0], spreads[0])]
            kernels += [("3", 1, 1)] if config.bottleneck else [("2", 1, spreads[1])]
            hidden = x
            for i, stride, dilation in kernels:
                weight = state[f"{name}.conv{i}.weight"]
                hidden = slow_conv(weight, hidden, stride, dilation, padding)
                hidden = slow_norm(state, f"{name}.bn{i}", hidden)
                hidden = hidden if i == kernels[-1][0] else hidden.relu()
            if f"{name}.downsample.0.weight" in state:
                x = slow_conv(state[f"{name}.downsample.0.weight"], x, strides[0])
                x = slow_norm(state, f"{name}.downsample.1", x)
            x = (x + hidden).relu()
        outputs.append(x)
    return outputs


def slow_depthwise(weight, x, stride):
    """Filter every channel by its own kernel."""
    parts = [slow_conv(weight[c : c + 1], x[:, c : c + 1], stride) for c in range(x.shape[1])]
    return torch.cat(parts, dim=1)


def slow_mobilenet(state, stages, x):
    """Give the output of every feature module.

    Args:
        state: state dict by torchvision's names.
        stages: (expansion, channels, blocks, stride of the first) of each stage.
        x: [N, 3, H, W].
    """

    def relu6(x):
        return x.clamp(0, 6)

    x = relu6(slow_norm(state, "features.0.1", slow_conv(state["features.0.0.weight"], x, 2)))
    outputs = [x]
    for expansion, channels, count, stride in stages:
        for i in range(count):
            prefix, last = f"features.{len(outputs)}.conv", 1
            step, hidden = stride if i == 0 else 1, x
            if expansion > 1:
                last = 2
                hidden = slow_conv(state[f"{prefix}.0.0.weight"], x, 1)
                hidden = relu6(slow_norm(state, f"{prefix}.0.1", hidden))
            hidden = slow_depthwise(state[f"{prefix}.{last - 1}.0.weight"], hidden, step)
            hidden = relu6(slow_norm(state, f"{prefix}.{last - 1}.1", hidden))
            hidden = slow_conv(state[f"{prefix}.{last}.weight"], hidden, 1)
            hidden = slow_norm(state, f"{prefix}.{last + 1}", hidden)
            x = x + hidden if step == 1 and x.shape[1] == channels else hidden
            outputs.append(x)
    prefix = f"features.{len(outputs)}"
    x = slow_conv(state[f"{prefix}.0.weight"], x, 1)
    return [*outputs, relu6(slow_norm(state, f"{prefix}.1", x))]
