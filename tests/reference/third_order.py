"""Equation (11), letter by letter: dense Hessians and third-derivative tensors, and the cosine's p and q along w."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

from reference.dense import Flat, gradient


@dataclass
class Cosine:
    """All that (11) is made of at one θ; no derivative of Φ is taken anywhere.

    Args:
        forget: L_f of the flat parameters.
        retain: L_r.
        beta: β.
        theta: θ, (P,) in float64.
    """

    forget: Flat
    retain: Flat
    beta: float
    theta: Tensor

    def __post_init__(self) -> None:
        theta = self.theta.detach()
        self.g_f, self.g_r = (gradient(f, theta) for f in (self.forget, self.retain))
        self.H_f, self.H_r = (hessian(f, theta) for f in (self.forget, self.retain))  # (P, P)
        self.a, self.b = self.g_f.norm(), self.g_r.norm()
        self.u, self.v = self.g_f / self.a, self.g_r / self.b
        self.c = self.u @ self.v
        self.p, self.q = (self.v - self.c * self.u) / self.a, (self.u - self.c * self.v) / self.b
        self.D = self.H_f @ self.p + self.H_r @ self.q
        self.w = self.g_f - self.beta * self.D  # (7)
        self.T_f_p, self.T_r_q = (_third(self.forget, theta, self.p), _third(self.retain, theta, self.q))

    def y(self, *, third: bool = True, second: bool = True) -> Tensor:
        """∇²Φ w.

        Args:
            third: with T_f[p, w] + T_r[q, w].
            second: with H_f ṗ + H_r q̇.
        """
        w, a, b, u, v, c = self.w, self.a, self.b, self.u, self.v, self.c
        gf_dot, gr_dot = self.H_f @ w, self.H_r @ w
        a_dot, b_dot = u @ gf_dot, v @ gr_dot
        u_dot, v_dot = (gf_dot - a_dot * u) / a, (gr_dot - b_dot * v) / b
        c_dot = u_dot @ v + u @ v_dot
        p_dot = (v_dot - c_dot * u - c * u_dot) / a - a_dot / a * self.p
        q_dot = (u_dot - c_dot * v - c * v_dot) / b - b_dot / b * self.q
        inside = torch.zeros_like(w)
        if second:
            inside = inside + self.H_f @ p_dot + self.H_r @ q_dot
        if third:
            inside = inside + self.T_f_p @ w + self.T_r_q @ w
        return gf_dot - self.beta * inside


def _third(loss: Flat, theta: Tensor, direction: Tensor) -> Tensor:
    """T[d, ·]: the third-derivative tensor with one index along d, (P, P), as the Jacobian of H(θ) d."""

    def curved(t: Tensor) -> Tensor:
        (g,) = torch.autograd.grad(loss(t), t, create_graph=True)
        return torch.autograd.grad(g @ direction, t, create_graph=True)[0]

    return jacobian(curved, theta)  # pyright: ignore[reportReturnType]
