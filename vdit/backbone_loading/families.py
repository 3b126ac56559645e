"""Names of backbones, and which file of this folder loads each; the file knows where it lies."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "mini": ("mini",),
    "modelscope": ("modelscope", "zeroscope"),
    "stable_diffusion": ("sd-1.4", "sd-1.5", "sd-2.0", "sd-2.0-base", "sd-2.1", "sd-2.1-base"),
    "svd": ("svd", "svd-xt", "svd-xt-1.1"),
    "i2vgen": ("i2vgen-xl",),
    "sd3": ("sd3-medium",),
    "wan": ("wan-2.1-1.3b",),
    "open_sora": ("open-sora-1.2",),
    "walt": ("walt", "walt-xl"),
    "adm": (
        "adm-256",
        "adm-512",
    ),
    "resnet": (
        "resnet18",
        "resnet50",
        "moco-v2",
        "vfs-r18",
        "vfs-r50",
        "crw",
    ),
    "mobilenet_v2": (
        "mobilenet-v2",
        "mobilenet-v2-deep-sort",
    ),
    "vit": (
        "dinov2-s",
        "dinov2-b",
        "dinov2-l",
        "dinov2-g",
        "dinov2-s-reg",
        "dinov2-b-reg",
        "dinov2-l-reg",
        "dinov2-g-reg",
        "dino-s16",
        "dino-s8",
        "dino-b16",
        "dino-b8",
        "vit-b16",
    ),
    "vjepa": (
        "vjepa-l",
        "vjepa-h",
        "vjepa-h-384",
    ),
    "vjepa2": (
        "vjepa2-l",
        "vjepa2-h",
        "vjepa2-g",
        "vjepa2-g-384",
    ),
    "video_swin": (
        "video-swin-t",
        "video-swin-s",
        "video-swin-b",
        "video-swin-b-1k",
        "video-swin-b-k600",
        "video-swin-b-ssv2",
    ),
}
"""File -> the names in its `SOURCES`."""
BACKBONES: dict[str, str] = {name: family for family, names in FAMILIES.items() for name in names}
"""Name -> file."""
