"""The methods' losses in plain numpy, float64, written from the papers' formulas: references for the tests."""

from fractions import Fraction
from itertools import product

import numpy as np

Array = np.ndarray


def log_softmax(z: Array) -> Array:
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def softmax(z: Array) -> Array:
    return np.exp(log_softmax(z))


def kl(student: Array, teacher: Array, t: float) -> Array:
    """T² KL(teacher ‖ student), [..., C] → [...]."""
    log_p, log_q = log_softmax(teacher / t), log_softmax(student / t)
    return t * t * (np.exp(log_p) * (log_p - log_q)).sum(-1)


def ce(z: Array, labels: Array) -> Array:
    return -np.take_along_axis(log_softmax(z), labels[:, None], axis=-1)[:, 0]


def standardised(z: Array) -> Array:
    return (z - z.mean(-1, keepdims=True)) / (z.std(-1, ddof=1, keepdims=True) + 1e-7)


def kd(student: Array, teacher: Array, labels: Array, t: float, gamma: float, alpha: float) -> float:
    return gamma * ce(student, labels).mean() + alpha * kl(student, teacher, t).mean()


def funmatch(student: Array, teachers: Array, t: float, scale: bool) -> float:
    return sum(kl(student, teacher, t).mean() for teacher in teachers) / (1 if scale else t * t)


def okddip_targets(logits: Array, queries: Array, keys: Array) -> Array:
    targets = np.zeros_like(logits)
    for b in range(logits.shape[1]):
        attention = softmax(queries[:, b] @ keys[:, b].T)
        targets[:, b] = attention @ logits[:, b]
    return targets


def okddip(peers: Array, targets: Array, leader: Array, labels: Array, t: float, weight: float) -> float:
    true = sum(ce(z, labels).mean() for z in peers) + ce(leader, labels).mean()
    soft = sum(kl(z, target, t).mean() for z, target in zip(peers, targets, strict=True))
    return true + weight * (soft + kl(leader, peers.mean(0), t).mean())


def one(branches: Array, gates: Array, labels: Array, t: float, weight: float) -> float:
    ensemble = np.einsum("bm,mbc->bc", gates, branches)
    true = sum(ce(z, labels).mean() for z in branches) + ce(ensemble, labels).mean()
    return true + weight * sum(kl(z, ensemble, t).mean() for z in branches)


def others(peers: Array) -> Array:
    return (peers.sum(0) - peers) / (len(peers) - 1)


def cl_ilr(branches: Array, labels: Array, t: float, weight: float) -> float:
    soft = sum(kl(z, target, t).mean() for z, target in zip(branches, others(branches), strict=True))
    return sum(ce(z, labels).mean() for z in branches) + weight * soft


def dml(peers: Array, labels: Array, t: float, ensemble_first: bool) -> float:
    m = len(peers)
    if ensemble_first:
        return cl_ilr(peers, labels, t, 1.0)
    pairs = [(i, j) for i in range(m) for j in range(m) if i != j]
    soft = sum(kl(peers[i], peers[j], t).mean() for i, j in pairs) / (m - 1)
    return sum(ce(z, labels).mean() for z in peers) + soft


def diversity(peers: Array) -> float:
    p = softmax(peers)
    pairs = [(i, j) for i in range(len(p)) for j in range(i)]
    return float(np.mean([np.sqrt(((p[i] - p[j]) ** 2).sum(-1)).mean() for i, j in pairs]))


def entropy(z: Array) -> Array:
    """Exact where one class has almost all: the odds of the others decide."""
    gaps = z.max(-1, keepdims=True) - z
    odds = np.exp(-gaps)
    rest = np.sort(odds, axis=-1)[..., :-1].sum(-1)
    return np.log1p(rest) + (odds * gaps).sum(-1) / (1 + rest)


def ebkd(student: Array, teachers: Array, t: float) -> float:
    h = entropy(teachers)
    total = h.sum(0)
    k = len(teachers)
    weights = 1 - np.where(total > 0, h / np.where(total > 0, total, 1), 1 / k)
    return float(np.mean(weights * np.stack([kl(student, teacher, t) for teacher in teachers])))


def confidence(logits: Array, labels: Array) -> Array:
    doubt = np.stack([ce(z, labels) for z in logits])
    return (1 - softmax(doubt.T).T) / (len(logits) - 1)


def ca_mkd_logits(student: Array, teachers: Array, labels: Array, t: float) -> float:
    return float(np.mean(confidence(teachers, labels) * np.stack([kl(student, z, t) for z in teachers])))


def ca_mkd_features(embedded: list[Array], maps: list[Array], projected: Array, labels: Array) -> float:
    errors = np.stack([((e - m) ** 2).mean((1, 2, 3)) for e, m in zip(embedded, maps, strict=True)])
    return float(np.mean(confidence(projected, labels) * errors))


def teskd(out: Array, students: Array, h: Array, hs: Array, labels: Array, t: float) -> list[float]:
    true = ce(out, labels).mean() + sum(ce(z, labels).mean() for z in students)
    soft = sum(kl(z, out, t).mean() for z in students)
    feature = sum((((h_i > 0) | (h > 0)) * (h_i - h) ** 2).sum() for h_i in hs)
    return [true, soft, feature]


def dkd(student: Array, teacher: Array, labels: Array, t: float, alpha: float, beta: float) -> float:
    rows = np.arange(len(labels))
    keep = np.ones_like(student, dtype=bool)
    keep[rows, labels] = False
    s, u = student / t, teacher / t
    others_s, others_u = (z[keep].reshape(len(z), -1) for z in (s, u))

    def binary(z: Array, rest: Array) -> Array:
        """Log-probabilities of target and of everything else, as two logits."""
        top = rest.max(-1, keepdims=True)
        summed = (np.log(np.exp(rest - top).sum(-1, keepdims=True)) + top)[:, 0]
        return np.stack([z[rows, labels], summed], axis=-1)

    target = kl(binary(s, others_s), binary(u, others_u), 1.0).mean()
    return t * t * (alpha * target + beta * kl(others_s, others_u, 1.0).mean())


def wsld(student: Array, teacher: Array, labels: Array, t: float) -> float:
    weights = 1 - np.exp(-ce(student, labels) / (ce(teacher, labels) + 1e-7))
    soft = -(softmax(teacher / t) * log_softmax(student / t)).sum(-1)
    return t * t * (weights * soft).mean()


def nkd(student: Array, teacher: Array, labels: Array, t: float) -> float:
    loss = 0.0
    for s, u, y in zip(student, teacher, labels, strict=True):
        others = np.arange(len(s)) != y
        loss -= softmax(u)[y] * log_softmax(s)[y]
        loss -= t * t * (softmax(u[others] / t) * log_softmax(s[others] / t)).sum()
    return loss / len(labels)


def wttm(student: Array, teacher: Array, power: float) -> float:
    p = softmax(teacher) ** power
    return (p.sum(-1) * kl(student, np.log(p / p.sum(-1, keepdims=True)), 1.0)).mean()


def ofa(student: Array, teacher: Array, labels: Array, epsilon: float) -> float:
    label = np.eye(student.shape[1])[labels]
    return -(((softmax(teacher) + label) ** epsilon - label) * log_softmax(student)).sum(-1).mean()


def ickd(student: Array, teacher: Array) -> float:
    def correlation(x: Array) -> Array:
        g = np.einsum("bchw,bdhw->bcd", x, x)
        return g / np.sqrt((g**2).sum(-1, keepdims=True))

    return ((correlation(student) - correlation(teacher)) ** 2).sum() / (student.shape[0] * student.shape[1])


def pearson(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    return (a @ b) / (np.sqrt(a @ a) * np.sqrt(b @ b) + 1e-8)


def dist(student: Array, teacher: Array, t: float, beta: float, gamma: float) -> float:
    p, q = softmax(student / t), softmax(teacher / t)
    inter = np.mean([pearson(a, b) for a, b in zip(p, q, strict=True)])
    intra = np.mean([pearson(a, b) for a, b in zip(p.T, q.T, strict=True)])
    return t * t * (beta * (1 - inter) + gamma * (1 - intra))


def shortest_combination(gram: Array, upper: float) -> tuple[float, Array]:
    """min aᵀ G a, Σ a = 1, 0 ≤ a ≤ upper in rational arithmetic: (objective, a) of one optimum."""
    n, top = len(gram), Fraction(upper)
    g = [[Fraction(float(x)) for x in row] for row in gram]
    best = None
    for case in product((0, 1, 2), repeat=n):
        free = [i for i in range(n) if case[i] == 0]
        fixed = [top if c == 2 else Fraction(0) for c in case]
        solved = solve_free(g, free, fixed) if free else None
        if solved is None:
            continue
        a = [solved[free.index(i)] if i in free else fixed[i] for i in range(n)]
        if all(0 <= x <= top for x in a):
            objective = sum(a[i] * g[i][j] * a[j] for i in range(n) for j in range(n))
            if best is None or objective < best[0]:
                best = (objective, a)
    return float(best[0]), np.array([float(x) for x in best[1]])


def solve_free(g: list, free: list[int], fixed: list) -> list | None:
    """The free weights of one case by Gauss-Jordan on its equations of optimality; None if they are singular."""
    bound = [j for j in range(len(g)) if j not in free]
    rows = [[*(g[i][j] for j in free), Fraction(1), -sum(g[i][j] * fixed[j] for j in bound)] for i in free]
    rows.append([*(Fraction(1) for _ in free), Fraction(0), 1 - sum(fixed[j] for j in bound)])
    for c in range(len(rows)):
        pivot = next((r for r in range(c, len(rows)) if rows[r][c] != 0), None)
        if pivot is None:
            return None
        rows[c], rows[pivot] = rows[pivot], rows[c]
        rows[c] = [x / rows[c][c] for x in rows[c]]
        for r in range(len(rows)):
            if r != c and rows[r][c] != 0:
                rows[r] = [x - rows[r][c] * y for x, y in zip(rows[r], rows[c], strict=True)]
    return [row[-1] for row in rows[:-1]]
