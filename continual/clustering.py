"""Contexts without any label of a task: batches that look alike are of one cluster.

Iyer et al. 2022 (arXiv 2201.00042): a batch is compared with each cluster's exemplars by Hotelling's
two-sample T2 on some random pixels, and joins one it could be of, or opens its own. A cluster's context is
its prototype, the running mean of all images that joined.

The published code also gives the network only the compared pixels as its context, and chooses among prototypes by
them at test; here both have all pixels. Three things differ on purpose:

- Its F statistic counts all 256 pixels as dimensions though many never vary, and its threshold of 0.9 is on
  F's distribution function: with the right number of dimensions, the rank of the covariance, one batch in
  ten of a known task would open a cluster of its own. Here the rank counts, and the threshold is a p-value
  small enough for the number of batches of a long run.
- A batch is compared with the cluster of the batch before it first, because tasks last.
- The network sees a prototype renewed each time its cluster has doubled, and that same one at test. There,
  the context moves with every batch, and at test it is another than the one that was learned with.
"""

from __future__ import annotations

import torch
from scipy.stats import f as f_distribution
from torch import Generator, Tensor

from continual.contexts import nearest


class ClusteredContexts:
    """Online clustering of batches.

    Args:
        pixels: of an image.
        compared: random pixels that are compared; all, if there are fewer.
        exemplars: images that a cluster keeps, at most.
        p_value: a batch that is less likely than this to be of a cluster does not join it.
        generator: of the pixels and the exemplars.
    """

    told = "nothing, neither while learning nor at test"

    def __init__(
        self, pixels: int, compared: int, exemplars: int, p_value: float, generator: Generator
    ) -> None:
        self._pixels = torch.randperm(pixels, generator=generator)[:compared]
        self._most, self._p_value, self._generator = exemplars, p_value, generator
        self.table = torch.empty(0, pixels)  # [K, pixels], renewed when a cluster has doubled
        self._mean = torch.empty(0, pixels, dtype=torch.float64)  # [K, pixels], of all that joined
        self._count = torch.empty(0, dtype=torch.int64)  # [K], images that joined
        self._renewed_at = torch.empty(0, dtype=torch.int64)  # [K], the count at that time
        self._exemplars: list[Tensor] = []  # [at most exemplars, compared] of each
        self._last = 0

    def begin_task(self, task: int, images: Tensor) -> None:
        """Nothing: this method is not told."""

    def of_batch(self, images: Tensor) -> int:
        """The cluster that a batch `[b, pixels]` joins or opens."""
        images = images.cpu()
        compared = images[:, self._pixels].double()
        order = sorted(range(len(self.table)), key=lambda cluster: cluster != self._last)
        for cluster in order:
            if self._likeness(compared, cluster) > self._p_value:
                self._join(cluster, images)
                break
        else:
            self._open(images)
        return self._last

    def infer(self, images: Tensor, task: int) -> Tensor:
        """The nearest prototype of each image; `task` is not looked at."""
        return nearest(images, self.table)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything, the generator included."""
        return {
            "table": self.table,
            "pixels": self._pixels,
            "mean": self._mean,
            "count": self._count,
            "renewed_at": self._renewed_at,
            "last": torch.tensor(self._last),
            "generator": self._generator.get_state(),
            **{f"exemplars.{index}": kept for index, kept in enumerate(self._exemplars)},
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore `state_dict()`."""
        known = len(state["count"])
        shapes = {"table": self.table, "mean": self._mean}
        for name, own in shapes.items():
            if state[name].shape != (known, own.shape[1]):
                raise RuntimeError(f"{name} of the clusters has shape {list(state[name].shape)}")
        self.table, self._mean = state["table"].clone(), state["mean"].clone()
        self._pixels.copy_(state["pixels"])
        self._count, self._renewed_at = state["count"].clone(), state["renewed_at"].clone()
        self._exemplars = [state[f"exemplars.{index}"].clone() for index in range(known)]
        self._last = int(state["last"])
        self._generator.set_state(state["generator"])

    def _likeness(self, compared: Tensor, cluster: int) -> float:
        """The p-value of a batch `[b, compared]` and a cluster, on as many pixels as the images allow."""
        kept = self._exemplars[cluster].double()
        pixels = (len(compared) + len(kept)) // 2
        return hotelling_p_value(compared[:, :pixels], kept[:, :pixels])

    def _open(self, images: Tensor) -> None:
        self._last = len(self.table)
        mean = images.double().mean(dim=0, keepdim=True)
        self._mean = torch.cat([self._mean, mean])
        self.table = torch.cat([self.table, mean.float()])
        number = torch.tensor([len(images)])
        self._count, self._renewed_at = (
            torch.cat([counts, number]) for counts in (self._count, self._renewed_at)
        )
        chosen = torch.randperm(len(images), generator=self._generator)[: self._most]
        self._exemplars.append(images[chosen][:, self._pixels].clone())

    def _join(self, cluster: int, images: Tensor) -> None:
        self._last = cluster
        before, after = int(self._count[cluster]), int(self._count[cluster]) + len(images)
        self._mean[cluster] += (
            images.double().sum(dim=0) - len(images) * self._mean[cluster]
        ) / after
        self._count[cluster] = after
        if after >= 2 * self._renewed_at[cluster]:
            self.table = self.table.clone()  # others may hold a row of it
            self.table[cluster] = self._mean[cluster].float()
            self._renewed_at[cluster] = after
        # Of old and new in proportion to how many images each stands for.
        old, new = self._exemplars[cluster], images[:, self._pixels]
        most = min(self._most, len(old) + len(new))
        from_new = min(
            len(new), max(most - len(old), round(most * len(images) / (before + len(images))))
        )
        chosen = [
            rows[torch.randperm(len(rows), generator=self._generator)[:count]]
            for rows, count in ((old, most - from_new), (new, from_new))
        ]
        self._exemplars[cluster] = torch.cat(chosen)


def hotelling_p_value(first: Tensor, second: Tensor) -> float:
    """How likely two samples are to differ as much by chance if their means are the same.

    Hotelling's T2 with the pooled covariance S of rank r, in the space where it has a variance:
    T2 = n m / (n + m) d' S^+ d, and F = (n + m - r - 1) / (r (n + m - 2)) T2 is distributed as
    F(r, n + m - r - 1). A pixel that is constant in each sample and differs between them is proof: 0.

    Args:
        first, second: `[n, p]` and `[m, p]`, float64, with n + m of p + 2 or more.
    """
    n, m = len(first), len(second)
    difference = first.mean(dim=0) - second.mean(dim=0)
    constant = (first == first[0]).all(dim=0) & (second == second[0]).all(dim=0)
    if (first[0] != second[0])[constant].any():
        return 0.0
    centred = torch.cat([first - first.mean(dim=0), second - second.mean(dim=0)])
    values, vectors = torch.linalg.eigh(centred.T @ centred / (n + m - 2))
    varies = values > values[-1].clamp(min=1e-12) * 1e-9
    rank = int(varies.sum())
    along = difference @ vectors  # [p]
    free = n + m - rank - 1
    if rank == 0 or free < 1:
        return 1.0
    t2 = n * m / (n + m) * (along[varies].square() / values[varies]).sum().item()
    return float(f_distribution.sf(t2 * free / (rank * (n + m - 2)), rank, free))
