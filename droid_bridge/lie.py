"""SE(3) and Sim(3) on 4x4 matrices in PyTorch: exponential, logarithm, adjoint, inverse, back onto the group.

A tangent vector is (translation, rotation), the translation in the units of the scene and the rotation in
radians; Sim(3) has the logarithm of the scale after them. A perturbation acts from the left:
``se3_exp(delta) @ camera_from_world``. Everything is batched over leading dimensions and keeps the type and device
of its input; solvers use float64.

On a GPU the exponentials and logarithms are princeton-vl's lietorch where it is installed (``lietorch_backend``).

Formulas: Barfoot, State Estimation for Robotics (2017), section 7.1; Sola et al., A micro Lie theory (2018);
for Sim(3) Strasdat et al., Scale drift-aware large scale monocular SLAM (RSS 2010).
"""

from __future__ import annotations

import torch
from torch import Tensor

from droid_bridge import lietorch_backend

_SMALL_ANGLE_RAD = 1e-4


def skew(vector: Tensor) -> Tensor:
    """Matrices (..., 3, 3) with ``skew(a) @ b`` the cross product of ``a`` (..., 3) and b."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*vector.shape, 3)


def _rotation_series(angle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``sin(a)/a``, ``(1-cos(a))/a^2`` and ``(a-sin(a))/a^3``, by their Taylor series near zero."""
    small = angle < _SMALL_ANGLE_RAD
    a = torch.where(small, torch.ones_like(angle), angle)
    a2 = angle * angle
    half_sine = torch.sin(0.5 * a)  # 1 - cos(a) loses half the digits of a small angle
    sinc = torch.where(small, 1 - a2 / 6, torch.sin(a) / a)
    versine = torch.where(small, 0.5 - a2 / 24, 2 * half_sine * half_sine / (a * a))
    cubic = torch.where(small, 1 / 6 - a2 / 120, (a - torch.sin(a)) / (a * a * a))
    return sinc, versine, cubic


def so3_exp(rotation_rad: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3), by Rodrigues' formula."""
    sinc, versine, _ = _rotation_series(torch.linalg.vector_norm(rotation_rad, dim=-1))
    k = skew(rotation_rad)
    identity = torch.eye(3, dtype=k.dtype, device=k.device)
    return identity + sinc[..., None, None] * k + versine[..., None, None] * (k @ k)


def so3_log(rotation: Tensor) -> Tensor:
    """Rotation vectors (..., 3) in radians, shorter than or equal to pi, of rotation matrices (..., 3, 3).

    Goes through the unit quaternion, whose largest component is never small, so it is stable at 0 and at pi.
    """
    quaternion = quaternion_from_rotation(rotation)
    vector, scalar = quaternion[..., :3], quaternion[..., 3]
    length = torch.linalg.vector_norm(vector, dim=-1)
    small = length < _SMALL_ANGLE_RAD
    safe = torch.where(small, torch.ones_like(length), length)
    factor = torch.where(
        small, 2 / scalar * (1 - (length / scalar) ** 2 / 3), 2 * torch.atan2(length, scalar) / safe
    )
    return factor[..., None] * vector


def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """Unit quaternions (..., 4) as x, y, z, w with w >= 0 of rotation matrices (..., 3, 3).

    Each row below is the quaternion times four of its own components; the row of the largest is the one with
    the most digits (Shepperd, 1978).
    """
    r = rotation
    r00, r11, r22 = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    xy, xz, yz = r[..., 0, 1] + r[..., 1, 0], r[..., 0, 2] + r[..., 2, 0], r[..., 1, 2] + r[..., 2, 1]
    wx, wy, wz = r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]
    xx, yy, zz, ww = 1 + r00 - r11 - r22, 1 - r00 + r11 - r22, 1 - r00 - r11 + r22, 1 + r00 + r11 + r22
    rows = torch.stack(
        [
            torch.stack([xx, xy, xz, wx], dim=-1),
            torch.stack([xy, yy, yz, wy], dim=-1),
            torch.stack([xz, yz, zz, wz], dim=-1),
            torch.stack([wx, wy, wz, ww], dim=-1),
        ],
        dim=-2,
    )
    largest = torch.stack([xx, yy, zz, ww], dim=-1).argmax(dim=-1)
    index = largest[..., None, None].expand(*largest.shape, 1, 4)
    quaternion = torch.nn.functional.normalize(rows.gather(-2, index).squeeze(-2), dim=-1)
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)


def rotation_from_quaternion(quaternion: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4) as x, y, z, w; any length above zero."""
    x, y, z, w = torch.nn.functional.normalize(quaternion, dim=-1).unbind(-1)
    entries = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(entries, dim=-1).reshape(*quaternion.shape[:-1], 3, 3)


def se3_from_parts(rotation: Tensor, translation: Tensor) -> Tensor:
    """Transforms (..., 4, 4) of rotations (..., 3, 3) and translations (..., 3)."""
    transform = torch.zeros(*rotation.shape[:-2], 4, 4, dtype=rotation.dtype, device=rotation.device)
    transform[..., :3, :3] = rotation
    transform[..., :3, 3] = translation
    transform[..., 3, 3] = 1
    return transform


def _left_jacobian(rotation_rad: Tensor) -> Tensor:
    """Left Jacobian of SO(3) (..., 3, 3): the translation of an exponential is this times the tangent's."""
    _, versine, cubic = _rotation_series(torch.linalg.vector_norm(rotation_rad, dim=-1))
    k = skew(rotation_rad)
    identity = torch.eye(3, dtype=k.dtype, device=k.device)
    return identity + versine[..., None, None] * k + cubic[..., None, None] * (k @ k)


def se3_exp(tangent: Tensor) -> Tensor:
    """Transforms (..., 4, 4) of tangent vectors (..., 6), translation first."""
    if lietorch_backend.serves(tangent):
        return lietorch_backend.group_exp("SE3", tangent)
    translation, rotation_rad = tangent[..., :3], tangent[..., 3:]
    moved = (_left_jacobian(rotation_rad) @ translation[..., None])[..., 0]
    return se3_from_parts(so3_exp(rotation_rad), moved)


def se3_log(transform: Tensor) -> Tensor:
    """Tangent vectors (..., 6), translation first, of transforms (..., 4, 4)."""
    if lietorch_backend.serves(transform):
        quaternion = quaternion_from_rotation(transform[..., :3, :3])
        return lietorch_backend.group_log("SE3", torch.cat([transform[..., :3, 3], quaternion], dim=-1))
    rotation_rad = so3_log(transform[..., :3, :3])
    translation = torch.linalg.solve(_left_jacobian(rotation_rad), transform[..., :3, 3:])[..., 0]
    return torch.cat([translation, rotation_rad], dim=-1)


def se3_inverse(transform: Tensor) -> Tensor:
    """Inverse of transforms (..., 4, 4), exact for a rotation that is orthonormal."""
    transposed = transform[..., :3, :3].mT
    return se3_from_parts(transposed, -(transposed @ transform[..., :3, 3:])[..., 0])


def se3_adjoint(transform: Tensor) -> Tensor:
    """Adjoints (..., 6, 6): ``transform @ se3_exp(v) == se3_exp(adjoint @ v) @ transform``."""
    rotation = transform[..., :3, :3]
    adjoint = torch.zeros(*transform.shape[:-2], 6, 6, dtype=transform.dtype, device=transform.device)
    adjoint[..., :3, :3] = rotation
    adjoint[..., 3:, 3:] = rotation
    adjoint[..., :3, 3:] = skew(transform[..., :3, 3]) @ rotation
    return adjoint


def se3_orthonormalised(transform: Tensor) -> Tensor:
    """The transforms (..., 4, 4) with their rotation brought back onto SO(3).

    Products of many transforms lose orthonormality slowly, and an inverse by transposition amplifies the loss.
    """
    rotation = rotation_from_quaternion(quaternion_from_rotation(transform[..., :3, :3]))
    return se3_from_parts(rotation, transform[..., :3, 3])


def se3_retract(transform: Tensor, tangent: Tensor) -> Tensor:
    """Transforms (..., 4, 4) perturbed from the left by tangent vectors (..., 6), back on the group."""
    return se3_orthonormalised(se3_exp(tangent) @ transform)


# --- Sim(3): a similarity is the matrix [[scale * rotation, translation], [0, 1]] ------------------------------


def sim3_from_parts(scale: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """Similarities (..., 4, 4) of scales (...), rotations (..., 3, 3) and translations (..., 3)."""
    return se3_from_parts(scale[..., None, None] * rotation, translation)


def sim3_scale(similarity: Tensor) -> Tensor:
    """Scales (...) of similarities (..., 4, 4)."""
    squares = (similarity[..., :3, :3] ** 2).sum(dim=(-2, -1))
    return torch.sqrt(squares / 3)


def sim3_rotation(similarity: Tensor) -> Tensor:
    """Rotations (..., 3, 3) of similarities (..., 4, 4)."""
    return similarity[..., :3, :3] / sim3_scale(similarity)[..., None, None]


def _sim3_generator(tangent: Tensor) -> Tensor:
    """Matrices (..., 4, 4) whose matrix exponential is the similarity of a tangent vector (..., 7)."""
    identity = torch.eye(3, dtype=tangent.dtype, device=tangent.device)
    linear = skew(tangent[..., 3:6]) + tangent[..., 6, None, None] * identity
    generator = torch.zeros(*tangent.shape[:-1], 4, 4, dtype=tangent.dtype, device=tangent.device)
    generator[..., :3, :3] = linear
    generator[..., :3, 3] = tangent[..., :3]
    return generator


def sim3_exp(tangent: Tensor) -> Tensor:
    """Similarities (..., 4, 4) of tangent vectors (..., 7): translation, rotation, log of the scale.

    The closed form divides by the angle and by the log of the scale, each of which is zero most of the time; the
    matrix exponential has no such places.
    """
    if lietorch_backend.serves(tangent):
        return lietorch_backend.group_exp("Sim3", tangent)
    similarity: Tensor = torch.linalg.matrix_exp(_sim3_generator(tangent))
    return similarity


def sim3_log(similarity: Tensor) -> Tensor:
    """Tangent vectors (..., 7) of similarities (..., 4, 4), the angle at most pi."""
    scale = sim3_scale(similarity)
    if lietorch_backend.serves(similarity):
        quaternion = quaternion_from_rotation(sim3_rotation(similarity))
        elements = [similarity[..., :3, 3], quaternion, scale[..., None]]
        return lietorch_backend.group_log("Sim3", torch.cat(elements, dim=-1))
    rotation_rad = so3_log(similarity[..., :3, :3] / scale[..., None, None])
    log_scale = torch.log(scale)[..., None]
    linear = _sim3_generator(torch.cat([torch.zeros_like(rotation_rad), rotation_rad, log_scale], dim=-1))
    # exp([[A, I], [0, 0]]) holds the integral of exp(uA) over u in [0, 1], which takes the tangent's translation
    # to the similarity's (Van Loan, 1978).
    augmented = torch.zeros(*similarity.shape[:-2], 6, 6, dtype=similarity.dtype, device=similarity.device)
    augmented[..., :3, :3] = linear[..., :3, :3]
    augmented[..., :3, 3:] = torch.eye(3, dtype=similarity.dtype, device=similarity.device)
    integral = torch.linalg.matrix_exp(augmented)[..., :3, 3:]
    translation = torch.linalg.solve(integral, similarity[..., :3, 3:])[..., 0]
    return torch.cat([translation, rotation_rad, log_scale], dim=-1)


def sim3_inverse(similarity: Tensor) -> Tensor:
    """Inverse of similarities (..., 4, 4), exact for a rotation that is orthonormal."""
    scale = sim3_scale(similarity)[..., None, None]
    linear = similarity[..., :3, :3].mT / scale**2
    return se3_from_parts(linear, -(linear @ similarity[..., :3, 3:])[..., 0])


def sim3_adjoint(similarity: Tensor) -> Tensor:
    """Adjoints (..., 7, 7): ``similarity @ sim3_exp(v) == sim3_exp(adjoint @ v) @ similarity``."""
    rotation = sim3_rotation(similarity)
    translation = similarity[..., :3, 3]
    adjoint = torch.zeros(*similarity.shape[:-2], 7, 7, dtype=similarity.dtype, device=similarity.device)
    adjoint[..., :3, :3] = similarity[..., :3, :3]
    adjoint[..., :3, 3:6] = skew(translation) @ rotation
    adjoint[..., :3, 6] = -translation
    adjoint[..., 3:6, 3:6] = rotation
    adjoint[..., 6, 6] = 1
    return adjoint


def sim3_bracket(tangent: Tensor) -> Tensor:
    """Matrices (..., 7, 7) of the Lie bracket with a tangent vector: the derivative of the adjoint at zero."""
    bracket = torch.zeros(*tangent.shape[:-1], 7, 7, dtype=tangent.dtype, device=tangent.device)
    turning = skew(tangent[..., 3:6])
    identity = torch.eye(3, dtype=tangent.dtype, device=tangent.device)
    bracket[..., :3, :3] = turning + tangent[..., 6, None, None] * identity
    bracket[..., :3, 3:6] = skew(tangent[..., :3])
    bracket[..., :3, 6] = -tangent[..., :3]
    bracket[..., 3:6, 3:6] = turning
    return bracket


def sim3_orthonormalised(similarity: Tensor) -> Tensor:
    """The similarities (..., 4, 4) with their rotation brought back onto SO(3)."""
    rotation = rotation_from_quaternion(quaternion_from_rotation(sim3_rotation(similarity)))
    return sim3_from_parts(sim3_scale(similarity), rotation, similarity[..., :3, 3])


def sim3_retract(similarity: Tensor, tangent: Tensor) -> Tensor:
    """Similarities (..., 4, 4) perturbed from the left by tangent vectors (..., 7), back on the group."""
    return sim3_orthonormalised(sim3_exp(tangent) @ similarity)
