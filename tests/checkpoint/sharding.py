"""Saves one state from four processes, as FSDP and tensor parallelism do; run as a program: sharding.py FOLDER."""

import sys

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

RANKS = 4


def state() -> dict[str, torch.Tensor]:
    """Tensors whose sizes divide evenly and do not, one smaller than the number of processes, one of two axes."""
    torch.manual_seed(0)
    return {
        "rows": torch.randn(10, 6), "columns": torch.randn(5, 9), "both": torch.randn(7, 6, 2), "small": torch.randn(2),
        "half": torch.randn(8, 3).bfloat16(), "whole": torch.randn(3), "count": torch.tensor(7),
    }  # fmt: skip


PLACEMENTS = {
    "rows": (Shard(0), Replicate()), "columns": (Replicate(), Shard(1)), "both": (Shard(0), Shard(1)),
    "small": (Shard(0), Replicate()), "half": (Shard(0), Shard(0)),
}  # fmt: skip


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}.meet", rank=rank, world_size=RANKS)
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    sharded = {
        name: distribute_tensor(tensor, mesh, PLACEMENTS[name]) if name in PLACEMENTS else tensor
        for name, tensor in state().items()
    }
    dcp.save({"model": sharded, "optim": {"state": {"rows": {"step": torch.tensor(3.0)}}}}, checkpoint_id=folder)
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.multiprocessing.spawn(work, (sys.argv[1],), RANKS)
