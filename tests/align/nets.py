"""Small networks with the names that the known families have, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

State = dict[str, torch.Tensor]


def mlp(width: int = 12) -> nn.Module:
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))


class Named(nn.Module):
    """fc1, fc2, fc3 with norms bn1, bn2."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(8, 9), nn.Linear(9, 7), nn.Linear(7, 3)
        self.bn1, self.bn2 = nn.BatchNorm1d(9), nn.BatchNorm1d(7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.fc1(x)))
        return self.fc3(F.relu(self.bn2(self.fc2(x))))


class Vgg(nn.Module):
    """torchvision's VGG with BatchNorm, small: convolutions, then a classifier of flattened pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 10, 3, padding=1), nn.BatchNorm2d(10), nn.ReLU(), nn.MaxPool2d(2)),
        )
        self.classifier = nn.Sequential(nn.Linear(40, 11), nn.ReLU(), nn.Dropout(0.0), nn.Linear(11, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, deep: bool, word: str) -> None:
        super().__init__()
        inner = outputs // 2 if deep else outputs
        self.conv1, self.bn1 = (
            nn.Conv2d(inputs, inner, 1 if deep else 3, padding=0 if deep else 1),
            nn.BatchNorm2d(inner),
        )
        last = inner if deep else outputs
        self.conv2, self.bn2 = nn.Conv2d(inner, last, 3, padding=1), nn.BatchNorm2d(last)
        if deep:
            self.conv3, self.bn3 = nn.Conv2d(inner, outputs, 1), nn.BatchNorm2d(outputs)
        self.deep, self.word = deep, word
        if inputs != outputs:
            setattr(self, word, nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.deep:
            y = self.bn3(self.conv3(F.relu(y)))
        return F.relu(y + (getattr(self, self.word)(x) if hasattr(self, self.word) else x))


class ResNet(nn.Module):
    """torchvision's ResNet, small: two blocks a stage, a shortcut where a stage begins with another width."""

    def __init__(self, deep: bool = False, word: str = "downsample", head: str = "fc") -> None:
        super().__init__()
        self.conv1, self.bn1, self.head = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), head
        widths = [(6, 8), (8, 10)] if deep else [(6, 6), (6, 10)]
        for number, (inputs, outputs) in enumerate(widths, 1):
            blocks = _Block(inputs, outputs, deep, word), _Block(outputs, outputs, deep, word)
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        setattr(self, head, nn.Linear(10, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        return getattr(self, self.head)(x.mean((2, 3)))


class Conv1D(nn.Module):
    """Hugging Face's linear layer with weights [inputs, outputs]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs) * 0.3), nn.Parameter(torch.randn(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    """Attention of (batch, length, width); queries of several heads may share one of keys and values."""
    width = k.shape[-1] // heads

    def cut(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (-1, width)).transpose(1, 2)

    groups = q.shape[-1] // k.shape[-1]
    shared = (cut(x).repeat_interleave(groups, dim=1) for x in (k, v))
    return F.scaled_dot_product_attention(cut(q), *shared).transpose(1, 2).flatten(2)


class Gpt2(nn.Module):
    """Two blocks of GPT-2, called as Hugging Face calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.h = nn.ModuleList()
        for _ in range(2):
            block = nn.Module()
            block.ln_1 = nn.LayerNorm(12)
            block.attn, block.mlp = nn.Module(), nn.Module()
            block.attn.c_attn, block.attn.c_proj = Conv1D(12, 36), Conv1D(12, 12)
            block.mlp.c_fc, block.mlp.c_proj = Conv1D(12, 20), Conv1D(20, 12)
            self.h.append(block)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.h:
            x = x + block.attn.c_proj(attention(*block.attn.c_attn(block.ln_1(x)).chunk(3, -1), heads=3))
            x = x + block.mlp.c_proj(F.gelu(block.mlp.c_fc(x)))
        return x


class Vit(nn.Module):
    """Two blocks of timm's vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for _ in range(2):
            block = nn.Module()
            block.norm1 = nn.LayerNorm(12)
            block.attn, block.mlp = nn.Module(), nn.Module()
            block.attn.qkv, block.attn.proj = nn.Linear(12, 36), nn.Linear(12, 12)
            block.mlp.fc1, block.mlp.fc2 = nn.Linear(12, 20), nn.Linear(20, 12)
            self.blocks.append(block)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + block.attn.proj(attention(*block.attn.qkv(block.norm1(x)).chunk(3, -1), heads=3))
            x = x + block.mlp.fc2(F.gelu(block.mlp.fc1(x)))
        return x


class Llama(nn.Module):
    """A block of Llama under `model.`: grouped queries, six heads that share two of keys and values, gated units."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.Module()
        layer.self_attn, layer.mlp = nn.Module(), nn.Module()
        for name, inputs, outputs in (("q", 12, 36), ("k", 12, 12), ("v", 12, 12), ("o", 36, 12)):
            setattr(layer.self_attn, f"{name}_proj", nn.Linear(inputs, outputs, bias=False))
        for name, inputs, outputs in (("gate", 12, 20), ("up", 12, 20), ("down", 20, 12)):
            setattr(layer.mlp, f"{name}_proj", nn.Linear(inputs, outputs, bias=False))
        self.model = nn.Module()
        self.model.layers = nn.ModuleList([layer])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attn, mlp = self.model.layers[0].self_attn, self.model.layers[0].mlp
        x = x + attn.o_proj(attention(attn.q_proj(x), attn.k_proj(x), attn.v_proj(x), heads=2))
        return x + mlp.down_proj(F.silu(mlp.gate_proj(x)) * mlp.up_proj(x))


class Bert(nn.Module):
    """A layer of BERT's encoder."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.Module()
        layer.attention, layer.intermediate, layer.output = nn.Module(), nn.Module(), nn.Module()
        layer.attention.self, layer.attention.output = nn.Module(), nn.Module()
        for name in ("query", "key", "value"):
            setattr(layer.attention.self, name, nn.Linear(12, 12))
        layer.attention.output.dense, layer.attention.output.LayerNorm = nn.Linear(12, 12), nn.LayerNorm(12)
        layer.intermediate.dense = nn.Linear(12, 20)
        layer.output.dense, layer.output.LayerNorm = nn.Linear(20, 12), nn.LayerNorm(12)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList([layer])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layer = self.encoder.layer[0]
        own = layer.attention.self
        mixed = attention(own.query(x), own.key(x), own.value(x), heads=3)
        x = layer.attention.output.LayerNorm(x + layer.attention.output.dense(mixed))
        return layer.output.LayerNorm(x + layer.output.dense(F.gelu(layer.intermediate.dense(x))))


def encoder() -> nn.Module:
    one = nn.TransformerEncoderLayer(12, 3, 20, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(one, 2, enable_nested_tensor=False)


@dataclass(frozen=True)
class Family:
    """A network, the shape of its inputs, its number of heads, and how many permutations it has."""

    make: Callable[[], nn.Module]
    inputs: tuple[int, ...]
    permutations: int
    heads: int | None = None


FAMILIES = {
    "mlp": Family(mlp, (8,), 2),
    "named": Family(Named, (8,), 2),
    "vgg": Family(Vgg, (3, 8, 8), 3),
    "resnet": Family(ResNet, (3, 8, 8), 6),
    "resnet-deep": Family(lambda: ResNet(deep=True), (3, 8, 8), 11),
    "resnet-cifar": Family(lambda: ResNet(word="shortcut", head="linear"), (3, 8, 8), 6),
    "gpt2": Family(Gpt2, (5, 12), 4, 3),
    "vit": Family(Vit, (5, 12), 4, 3),
    "llama": Family(Llama, (5, 12), 2, 6),
    "bert": Family(Bert, (5, 12), 2, 3),
    "torch": Family(encoder, (5, 12), 4, 3),
}


def made(family: Family, seed: int) -> nn.Module:
    """A network in double precision whose norms have statistics and weights of their own."""
    torch.manual_seed(seed)
    net = family.make().double().eval()
    for name, tensor in net.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand_like(tensor) + 0.5)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.copy_(torch.randn_like(tensor))
    return net


def outputs(family: Family, net: nn.Module, state: State | None = None) -> np.ndarray:
    """What a network says of fixed inputs, with another state if that is given."""
    if state is not None:
        other = family.make().double().eval()
        other.load_state_dict(state)
        net = other
    x = torch.randn(4, *family.inputs, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    with torch.no_grad():
        return net(x).numpy()
