"""ADM once more: slow, in single sums and loops, from the paper's rules and a state dict."""

import math

import torch


def plan(config):
    """Channels in and out, stride, and resizing of every layer, by the paper's rules."""
    widths = [int(config.channels * multiplier) for multiplier in config.multipliers]
    encoder, skips, channels = [], [widths[0]], widths[0]
    for level, width in enumerate(widths):
        for _ in range(config.num_blocks):
            encoder.append([("residual", channels, width, None)])
            encoder[-1] += [("attention",)] * (2**level in config.attention_strides)
            channels = width
            skips.append(channels)
        if level + 1 < len(widths):
            encoder.append([("residual", channels, channels, "down")])
            skips.append(channels)
    decoder = []
    for level in range(len(widths) - 1, -1, -1):
        for i in range(config.num_blocks + 1):
            decoder.append([("residual", channels + skips.pop(), widths[level], None)])
            decoder[-1] += [("attention",)] * (2**level in config.attention_strides)
            channels = widths[level]
            if level > 0 and i == config.num_blocks:
                decoder[-1].append(("residual", channels, channels, "up"))
    middle = [("residual", widths[-1], widths[-1], None), ("attention",)]
    return encoder, [*middle, middle[0]], decoder


class Slow:
    """The network written out from its state dict, one number of a formula after the other."""

    def __init__(self, state):
        self.state = state

    def norm(self, name, x):
        groups = x.reshape(x.shape[0], 32, -1)
        mean = groups.mean(-1, keepdim=True)
        variance = ((groups - mean) ** 2).mean(-1, keepdim=True)
        flat = ((groups - mean) / torch.sqrt(variance + 1e-5)).reshape(x.shape)
        shape = (1, -1, *[1] * (x.ndim - 2))
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return flat * weight.view(shape) + bias.view(shape)

    def conv(self, name, x):
        """Sum a product for every tap of the kernel."""
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        reach = weight.shape[-1] // 2
        height, width = x.shape[-2:]
        padded = torch.zeros(*x.shape[:2], height + 2 * reach, width + 2 * reach)
        padded[:, :, reach : reach + height, reach : reach + width] = x
        total = bias.view(1, -1, 1, 1).expand(x.shape[0], -1, height, width).clone()
        for row in range(weight.shape[2]):
            for column in range(weight.shape[3]):
                part = padded[:, :, row : row + height, column : column + width]
                total += torch.einsum("oc,nchw->nohw", weight[:, :, row, column], part)
        return total

    def linear(self, name, x):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def residual(self, name, x, embed, resize):
        hidden = silu(self.norm(f"{name}.in_layers.0", x))
        x, hidden = resized(x, resize), resized(hidden, resize)
        hidden = self.norm(f"{name}.out_layers.0", self.conv(f"{name}.in_layers.2", hidden))
        both = self.linear(f"{name}.emb_layers.1", silu(embed))
        half = both.shape[1] // 2
        scale, shift = both[:, :half, None, None], both[:, half:, None, None]
        hidden = self.conv(f"{name}.out_layers.3", silu(hidden * (1 + scale) + shift))
        if f"{name}.skip_connection.weight" in self.state:
            x = self.conv(f"{name}.skip_connection", x)
        return x + hidden

    def attention(self, name, x, size):
        N, channels = x.shape[:2]
        cells = self.norm(f"{name}.norm", x.reshape(N, channels, -1))
        weight, bias = self.state[f"{name}.qkv.weight"][..., 0], self.state[f"{name}.qkv.bias"]
        result = torch.zeros_like(cells)
        for n in range(N):
            rows = weight @ cells[n] + bias[:, None]
            for head in range(channels // size):
                # the three parts of one head lie beside each other
                start = 3 * size * head
                query, key, value = (rows[start + i * size :][:size] for i in range(3))
                logits = query.T @ key / math.sqrt(size)
                powers = torch.exp(logits - logits.max(dim=1, keepdim=True).values)
                share = powers / powers.sum(1, keepdim=True)
                result[n, head * size : (head + 1) * size] = (share @ value.T).T
        weight = self.state[f"{name}.proj_out.weight"][..., 0]
        result = torch.einsum("oc,ncl->nol", weight, result)
        return x + (result + self.state[f"{name}.proj_out.bias"][:, None]).reshape(x.shape)

    def embed(self, timestep, channels, label):
        half = channels // 2
        angles = [timestep * 10_000 ** (-i / half) for i in range(half)]
        waves = torch.tensor([[*map(math.cos, angles), *map(math.sin, angles)]])
        embed = self.linear("time_embed.2", silu(self.linear("time_embed.0", waves)))
        return embed if label is None else embed + self.state["label_emb.weight"][label]

    def stage(self, name, x, embed, layers, size):
        for i, (kind, *sizes) in enumerate(layers):
            if kind == "residual":
                x = self.residual(f"{name}.{i}", x, embed, sizes[-1])
            else:
                x = self.attention(f"{name}.{i}", x, size)
        return x

    def outputs(self, config, frames, timestep, label):
        encoder, middle, decoder = plan(config)
        embed, size = self.embed(timestep, config.channels, label), config.head_channels
        x = self.conv("input_blocks.0.0", frames)
        skips = [x]
        for i, layers in enumerate(encoder, start=1):
            x = self.stage(f"input_blocks.{i}", x, embed, layers, size)
            skips.append(x)
        x = self.stage("middle_block", x, embed, middle, size)
        for i, layers in enumerate(decoder):
            x = torch.cat([x, skips.pop()], dim=1)
            x = self.stage(f"output_blocks.{i}", x, embed, layers, size)
            yield x


def silu(x):
    return x / (1 + torch.exp(-x))


def resized(x, how):
    if how == "down":
        corners = [x[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
        return sum(corners) / 4
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3) if how == "up" else x
