"""Small problems in float64 whose bi-level solution is known without running the method.

Two quadratics, a regularised logistic regression, and a network (of which only the residuals are known to vanish at a
solution). In all of them Φ = L_f: the similarity is off, for with it no known rate applies (38).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.autograd.functional import hessian
from torch.nn import functional as F

from ofmu.core import Problem

Flat = Callable[[Tensor], Tensor]
FORGET, RETAIN = 20, 150
"""Images of either side."""
DECAY = 1e-2
"""Weight of ½‖θ‖² in L_r of the two problems on digits."""
HIDDEN = 8
SIZES = [64 * HIDDEN, HIDDEN, HIDDEN * 10, 10]
"""Of the network's weights and biases, in order."""


@dataclass(frozen=True)
class Known:
    """A problem with its answer.

    Args:
        name: how tables call it.
        forget: L_f of a flat parameter vector, to be raised.
        retain: L_r of the same.
        start: θ_0, flat float64.
        solution: the bi-level solution, of (2); None where it is not known.
        highest: the maximum of L_f.
        phi_smoothness: H ≥ ‖∇²Φ‖ near the path.
        retain_smoothness: S_r ≥ ‖∇²L_r‖ near the path.
    """

    name: str
    forget: Flat
    retain: Flat
    start: Tensor
    solution: Tensor | None
    highest: float
    phi_smoothness: float
    retain_smoothness: float

    def problem(self, sigma: float = 0.0, seed: int = 0) -> tuple[Problem, Tensor]:
        """The problem at its start, and its parameter vector, which solving moves.

        Args:
            sigma: every evaluation of a loss draws ξ anew, E‖ξ‖² = σ², and adds it to the gradient.
            seed: of the draws.
        """
        theta = self.start.clone().requires_grad_()
        draws = torch.Generator().manual_seed(seed)

        def noisy(loss: Flat) -> Callable[[], Tensor]:
            if sigma == 0:
                return lambda: loss(theta)
            scale = sigma / math.sqrt(theta.numel())
            return lambda: loss(theta) + scale * (torch.randn(len(theta), generator=draws, dtype=theta.dtype) @ theta)

        return Problem({"theta": theta}, noisy(self.forget), noisy(self.retain)), theta

    def smoothness(self, rho: float) -> float:
        """L_F = S_r + 2ρH² of (33); exact for quadratics, M‖∇Φ‖ left out elsewhere."""
        return self.retain_smoothness + 2 * rho * self.phi_smoothness**2


def quadratic(*, flat: bool, size: int = 20, seed: int = 0) -> Known:
    """L_f = −½(θ−m)ᵀA(θ−m) and L_r = ½(θ−c)ᵀB(θ−c), both with eigenvalues from 0.03 to 1.

    Args:
        flat: half of A's eigenvalues are 0, so that Φ has many maxima and L_r chooses among them; else Φ is strongly
            concave, and m is the solution whatever L_r is.
        size: number of parameters.
        seed: of everything drawn.
    """
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    spread = torch.logspace(math.log10(0.03), 0, size, dtype=torch.float64)
    axes_f, axes_r = torch.linalg.qr(draw(size, size))[0], torch.linalg.qr(draw(size, size))[0]
    curved = spread.clone()
    curved[: size // 2 if flat else 0] = 0.0
    A, B = axes_f * curved @ axes_f.T, axes_r * spread @ axes_r.T
    m, c = draw(size), draw(size)
    free = axes_f[:, curved == 0]  # a basis of the directions that Φ does not see
    solution = m + free @ torch.linalg.solve(free.T @ B @ free, free.T @ B @ (c - m)) if flat else m
    return Known(
        name="quadratic with flat directions" if flat else "quadratic, strongly concave",
        forget=lambda t: -(t - m) @ A @ (t - m) / 2,
        retain=lambda t: (t - c) @ B @ (t - c) / 2,
        start=c.clone(),
        solution=solution,
        highest=0.0,
        phi_smoothness=1.0,
        retain_smoothness=1.0,
    )


def _digits() -> tuple[Tensor, Tensor, Tensor]:
    from sklearn.datasets import load_digits

    images, target = load_digits(return_X_y=True)
    x = torch.tensor(images[: FORGET + RETAIN] / 16, dtype=torch.float64)
    y = torch.tensor(target[: FORGET + RETAIN])
    return x[:FORGET], x[FORGET:], y


def logistic() -> Known:
    """Softmax regression on digits: 20 images are to be answered as if nothing was known of them, 150 to be kept.

    L_f = −CE(uniform, p) on the former; its maximum −log 10 is reached on the subspace X_f W = 0 (up to what is the
    same for all classes), L_r = CE + ½ 10⁻²‖W‖² on the latter. So the solution is L_r's minimum over W = N Z, N a basis
    of the null space of X_f: an unconstrained strictly convex problem, solved here by L-BFGS and Newton steps.
    """
    x_f, x_r, y = _digits()
    shape = (64, 10)

    def forget(t: Tensor) -> Tensor:
        return F.log_softmax(x_f @ t.view(shape), dim=1).mean()

    def retain(t: Tensor) -> Tensor:
        return F.cross_entropy(x_r @ t.view(shape), y[FORGET:]) + DECAY / 2 * (t @ t)

    def trained(t: Tensor) -> Tensor:
        return retain(t) + F.cross_entropy(x_f @ t.view(shape), y[:FORGET])

    singular = torch.linalg.svd(x_f)
    free = singular.Vh[FORGET:].T  # (64, 44)

    def along(z: Tensor) -> Tensor:
        return retain((free @ z.view(-1, 10)).flatten())

    zero = torch.zeros(640, dtype=torch.float64)
    solution = (free @ _lowest(along, zero[: 10 * free.shape[1]]).view(-1, 10)).flatten()
    steepest = 0.5 * float(torch.linalg.matrix_norm(x_r, 2)) ** 2 / RETAIN
    return Known(
        name="logistic regression, digits",
        forget=forget,
        retain=retain,
        start=descended(trained, zero, steps=500),
        solution=solution,
        highest=-math.log(10),
        phi_smoothness=0.5 * float(singular.S[0]) ** 2 / FORGET,
        retain_smoothness=steepest + DECAY,
    )


def network(seed: int = 0) -> Known:
    """As :func:`logistic`, with a layer of eight tanh units in between; not convex, and with no known solution."""
    x_f, x_r, y = _digits()

    def forget(t: Tensor) -> Tensor:
        return F.log_softmax(_logits(t, x_f), dim=1).mean()

    def retain(t: Tensor) -> Tensor:
        return F.cross_entropy(_logits(t, x_r), y[FORGET:]) + DECAY / 2 * (t @ t)

    start = descended(lambda t: retain(t) + F.cross_entropy(_logits(t, x_f), y[:FORGET]), _first_weights(seed), 300)
    return Known(
        name="network, digits",
        forget=forget,
        retain=retain,
        start=start,
        solution=None,
        highest=-math.log(10),
        phi_smoothness=_curvature(forget, start),
        retain_smoothness=_curvature(retain, start),
    )


def single_image(seed: int, image: int) -> tuple[Problem, Callable[[], float], Callable[[], float]]:
    """The network, trained on all images, and one of them to forget by its likelihood; the retain set is kept.

    Args:
        seed: of the first weights.
        image: 0 … ``FORGET`` − 1.

    Returns:
        The problem, and the two losses as numbers at its current parameters.
    """
    x_f, x_r, y = _digits()
    theta = _trained(seed).clone().requires_grad_()

    def forget() -> Tensor:
        return F.cross_entropy(_logits(theta, x_f[image : image + 1]), y[image : image + 1])

    def retain() -> Tensor:
        return F.cross_entropy(_logits(theta, x_r), y[FORGET:])

    return Problem({"theta": theta}, forget, retain), lambda: float(forget().detach()), lambda: float(retain().detach())


@cache
def _trained(seed: int) -> Tensor:
    x_f, x_r, y = _digits()
    x = torch.cat([x_f, x_r])
    return descended(lambda t: F.cross_entropy(_logits(t, x), y) + 1e-3 / 2 * (t @ t), _first_weights(seed), 300)


def _first_weights(seed: int) -> Tensor:
    return torch.randn(sum(SIZES), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / 4


def _logits(t: Tensor, x: Tensor) -> Tensor:
    w1, b1, w2, b2 = t.split(SIZES)
    return (x @ w1.view(64, HIDDEN) + b1).tanh() @ w2.view(HIDDEN, 10) + b2


def all_problems() -> list[Known]:
    """The four, in the order of the tables."""
    return [quadratic(flat=False), quadratic(flat=True), logistic(), network()]


def _lowest(loss: Flat, start: Tensor) -> Tensor:
    """The minimum of a strictly convex function: L-BFGS, then Newton steps with dense Hessians."""
    theta = descended(loss, start, steps=500)
    for _ in range(4):
        gradient = _gradient(loss, theta)
        if float(gradient.norm()) < 1e-13:
            break
        theta = theta - torch.linalg.solve(hessian(loss, theta), gradient)
    return theta


def descended(loss: Flat, start: Tensor, steps: int) -> Tensor:
    """A low point of a smooth function, by torch's L-BFGS."""
    theta = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([theta], max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(theta)
        value.backward()
        return value

    optimiser.step(closure)  # pyright: ignore[reportArgumentType] - torch wants a closure that returns a float
    return theta.detach()


def _gradient(loss: Flat, theta: Tensor) -> Tensor:
    theta = theta.detach().requires_grad_()
    return torch.autograd.grad(loss(theta), theta)[0]


def _curvature(loss: Flat, theta: Tensor) -> float:
    return float(torch.linalg.matrix_norm(hessian(loss, theta), 2))
