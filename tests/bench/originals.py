"""One training step of each method as its authors' code computes it, the reference for raykd's speed.

Plain loops over teachers and branches; all features of every teacher are computed, even if they are not used; teachers
keep their BatchNorms; AEKD runs a backward pass through the student for every teacher; torch's default SGD; each term's
value and the accuracies are fetched at every step; NCHW. These are new implementations of what the code does; networks,
batch, precision and optimizer settings are the same as raykd's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.models.staged import Staged

EPOCH = 100.0


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² KL as computed by code bases that use KLDivLoss."""
    log_q, p = F.log_softmax(student / temperature, dim=1), F.softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, p, reduction="sum") * temperature**2 / student.shape[0]


def per_sample(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    log_q, p = F.log_softmax(student / temperature, dim=1), F.softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, p, reduction="none").sum(1) * temperature**2


def noisy_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """OKDDip's and TESKD's: 1e-7 added to the target."""
    p = F.softmax(teacher / temperature, dim=1) + 1e-7
    return temperature**2 * (p * (p.log() - F.log_softmax(student / temperature, dim=1))).sum() / student.shape[0]


def accuracy(logits: Tensor, labels: Tensor) -> list[float]:
    """Top-1 and top-5 in percent, fetched from the device."""
    ranked = logits.topk(5, 1, True, True)[1].t()
    hits = ranked.eq(labels.view(1, -1).expand_as(ranked))
    return [hits[:k].reshape(-1).float().sum(0).mul(100.0 / len(labels)).item() for k in (1, 5)]


class Original:
    """The loop around a method's loss; `loss` of subclasses returns the loss, the logged parts and the logits."""

    def __init__(self, modules: list[nn.Module], teachers: list[Staged], rate: float = 0.1):
        self.modules, self.teachers = modules, teachers
        self.parameters = [p for p in dict.fromkeys(p for m in modules for p in m.parameters())]
        self.optimizer = torch.optim.SGD(self.parameters, lr=rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
        for module in modules:
            module.train()

    def step(self, images: Tensor, labels: Tensor) -> None:
        total, parts, logits = self.loss(images, labels)
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        self.log(total, parts, logits, labels)

    def log(self, total: Tensor, parts: list[Tensor], logits: list[Tensor], labels: Tensor) -> None:
        for value in (total, *parts):
            value.item()
        for each in logits:
            accuracy(each, labels)

    def ask(self, images: Tensor) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
        logits, features = [], []
        for teacher in self.teachers:
            with torch.no_grad():
                output = teacher.output(images, tuple(teacher.shapes))
            logits.append(output.logits.detach())
            features.append({name: value.detach() for name, value in output.features.items()})
        return logits, features

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        raise NotImplementedError


class Supervised(Original):
    def loss(self, images, labels):
        logits = self.modules[0](images)
        return F.cross_entropy(logits, labels), [], [logits]


class KD(Original):
    def loss(self, images, labels):
        student = self.modules[0]
        logits, _ = student.output(images, tuple(student.shapes))
        (target,), _ = self.ask(images)
        ce, kd = F.cross_entropy(logits, labels), divergence(logits, target, 4.0)
        return 0.1 * ce + 0.9 * kd, [], [logits]


class MultiTeacher(Original):
    """CA-MKD's loop: γ CE + α kd + β feature."""

    beta = 0.0

    def loss(self, images, labels):
        student = self.modules[0]
        logits, features = student.output(images, tuple(student.shapes))
        targets, maps = self.ask(images)
        ce = F.cross_entropy(logits, labels)
        kd, feature = self.terms(logits, features, targets, maps, labels)
        return ce + kd + self.beta * feature, [ce, kd], [logits]


class AverMKD(MultiTeacher):
    def terms(self, logits, features, targets, maps, labels):
        kds = [divergence(logits, target, 4.0) for target in targets]
        return torch.stack(kds).mean(), logits.new_zeros(())


class EBKD(MultiTeacher):
    def terms(self, logits, features, targets, maps, labels):
        kds = torch.stack([per_sample(logits, target, 4.0) for target in targets])
        entropies = []
        for target in targets:
            p = F.softmax(target, dim=1)
            entropies.append(-(p * torch.log(p)).sum(1))
        entropies = torch.stack(entropies)
        weights = 1 - entropies / entropies.sum(0)
        return (kds * weights).mean(), logits.new_zeros(())


class FitNetMKD(MultiTeacher):
    beta = 100.0

    def terms(self, logits, features, targets, maps, labels):
        kds = torch.stack([divergence(logits, target, 4.0) for target in targets])
        hints = [F.mse_loss(r(features["stage2"]), f["stage2"]) for r, f in zip(self.modules[1], maps)]
        return kds.mean(), torch.stack(hints).mean()


class CAMKD(MultiTeacher):
    beta = 50.0

    def terms(self, logits, features, targets, maps, labels):
        kds, doubts, errors, doubts2 = [], [], [], []
        last = features[self.modules[0].last_stage]
        for k, teacher in enumerate(self.teachers):
            kds.append(per_sample(logits, targets[k], 4.0))
            doubts.append(F.cross_entropy(targets[k], labels, reduction="none"))
            goal = maps[k][teacher.last_stage]
            sized = (
                F.adaptive_avg_pool2d(last, goal.shape[2:])
                if last.shape[2] >= goal.shape[2]
                else F.interpolate(last, goal.shape[2:], mode="bilinear")
            )
            embedded = self.modules[1][k](sized)
            doubts2.append(F.cross_entropy(teacher.classify(embedded), labels, reduction="none"))
            errors.append(F.mse_loss(embedded, goal, reduction="none").reshape(len(labels), -1).mean(1))
        share = (1 - F.softmax(torch.stack(doubts), 0)) / (len(kds) - 1)
        share2 = (1 - F.softmax(torch.stack(doubts2), 0)) / (len(kds) - 1)
        return (share * torch.stack(kds)).mean(), (share2 * torch.stack(errors)).mean()


class AEKD(MultiTeacher):
    """A backward pass through the student for every teacher, a one-class SVM on the host, then the loss's own pass."""

    def terms(self, logits, features, targets, maps, labels):
        from sklearn.svm import OneClassSVM

        kds = [divergence(logits, target, 4.0) for target in targets]
        gradients: list[Tensor] = []
        hook = logits.register_hook(lambda g: gradients.append(g.detach().clone()))
        for kd in kds:
            self.optimizer.zero_grad()
            kd.backward(retain_graph=True)
        hook.remove()
        rows = [g.sum(0).cpu().numpy() for g in gradients]
        svm = OneClassSVM(kernel="linear", nu=1 / (0.6 * len(kds))).fit(rows)
        scale = torch.zeros(len(kds))
        scale[torch.from_numpy(svm.support_).long()] = torch.from_numpy(svm.dual_coef_[0]).float()
        return torch.dot((scale / scale.sum()).to(logits), torch.stack(kds)), logits.new_zeros(())


class Peers(Original):
    """OKDDip's loop: branches one after another behind a shared trunk (or whole networks), losses branch by branch."""

    weight, temperature = 1.0, 3.0

    def outputs(self, images: Tensor, scale: float = 1.0) -> tuple[list[Tensor], list[Tensor], Tensor]:
        networks, start = self.modules[0], self.start
        trunk = networks[0].trunk(images, start)
        if scale != 1.0:
            trunk.register_hook(lambda g: g * scale)
        found = [network.run_from(start, trunk, ("pooled",)) for network in networks]
        return [o.logits for o in found], [o.features["pooled"] for o in found], trunk

    def others(self, logits: list[Tensor], i: int) -> Tensor:
        return torch.stack([z for j, z in enumerate(logits) if j != i]).mean(0)


class OKDDip(Peers):
    def loss(self, images, labels):
        logits, pooled, _ = self.outputs(images)
        query, key = self.modules[1], self.modules[2]
        peers = torch.stack(logits[:-1], 2)
        queries = torch.stack([query(h) for h in pooled[:-1]], 1)
        keys = torch.stack([key(h) for h in pooled[:-1]], 1)
        attention = F.softmax(torch.bmm(queries, keys.transpose(1, 2)), dim=-1)
        targets = torch.bmm(peers, attention.transpose(1, 2))
        true = sum(F.cross_entropy(z, labels) for z in logits)
        group = sum(noisy_divergence(peers[:, :, i], targets[:, :, i], 3.0) for i in range(peers.shape[2]))
        group = group + noisy_divergence(logits[-1], peers.mean(2), 3.0)
        return true + self.weight * group, [true, group], [*logits, peers.mean(2)]


class ONE(Peers):
    def loss(self, images, labels):
        logits, _, trunk = self.outputs(images)
        gate = self.modules[1](trunk)
        target = sum(gate[:, i : i + 1] * z for i, z in enumerate(logits))
        true = sum(F.cross_entropy(z, labels) for z in logits) + F.cross_entropy(target, labels)
        group = sum(noisy_divergence(z, target, 3.0) for z in logits)
        return true + self.weight * group, [true, group], [*logits, target]


class CLILR(Peers):
    def loss(self, images, labels):
        logits, _, _ = self.outputs(images, 1 / len(self.modules[0]))
        true = sum(F.cross_entropy(z, labels) for z in logits)
        group = sum(noisy_divergence(z, self.others(logits, i), 3.0) for i, z in enumerate(logits))
        return true + self.weight * group, [true, group], [*logits, torch.stack(logits).mean(0)]


class Individual(Peers):
    def loss(self, images, labels):
        logits, _, _ = self.outputs(images)
        true = sum(F.cross_entropy(z, labels) for z in logits)
        return true, [true], [*logits, torch.stack(logits).mean(0)]


class DML(Peers):
    def loss(self, images, labels):
        logits = [network(images) for network in self.modules[0]]
        true, group = 0.0, 0.0
        for i, z in enumerate(logits):
            true = true + F.cross_entropy(z, labels)
            for j, other in enumerate(logits):
                if i != j:
                    group = group + noisy_divergence(z, other, 3.0) / (len(logits) - 1)
        return true + group, [true, group], [*logits, torch.stack(logits).mean(0)]


class TESKD(Original):
    def loss(self, images, labels):
        backbone, pyramid = self.modules
        z, features = backbone.output(images, (*backbone.stages, "pooled"))
        students, pooled = pyramid([features[stage] for stage in backbone.stages])
        true = F.cross_entropy(z, labels) + sum(F.cross_entropy(s, labels) for s in students)
        group = sum(noisy_divergence(s, z, 4.0) for s in students)
        goal = features["pooled"].detach()
        masks = [((h > 0) | (goal > 0)).float() for h in pooled]
        errors = [F.mse_loss(h, goal, reduction="none") * mask for h, mask in zip(pooled, masks)]
        distance = sum(error.abs().sum() for error in errors)
        return 0.2 * true + 0.8 * group + 1e-7 * distance, [true, group, distance], [z, *students]


class FunMatch(Original):
    """The TensorFlow re-implementation's step: mixup of the batch, teacher and student on it, one KL, Adam."""

    def step(self, images, labels):
        rate = float(torch.rand(()))
        mixed = rate * images + (1 - rate) * images.flip(0)
        (target,), _ = self.ask(mixed)
        log_q, p = F.log_softmax(self.modules[0](mixed), 1), F.softmax(target, 1)
        total = F.kl_div(log_q, p, reduction="batchmean")
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        total.item()
