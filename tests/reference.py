"""Naive loops written from the paper's formulas: what the vectorised code has to agree with."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F


def partial_cross_entropy(logits, target, ignore):
    values = []
    for b in range(len(logits)):
        for index in itertools.product(*map(range, logits.shape[2:])):
            label = int(target[(b, *index)])
            if label != ignore:
                z = logits[(b, slice(None), *index)]
                values.append(-(z[label] - z.exp().sum().log()))
    return sum(values) / len(values) if values else logits.sum() * 0


def certainty_label(z_main, z_auxiliary, scribble, threshold, ignore):
    result = torch.full_like(scribble, ignore)
    for b in range(len(z_main)):
        for index in itertools.product(*map(range, scribble.shape[1:])):
            at = (b, slice(None), *index)
            p = (torch.softmax(z_main[at], 0) + torch.softmax(z_auxiliary[at], 0)) / 2
            entropy = -sum(float(q) * math.log(float(q)) for q in p if q > 0)
            if entropy <= threshold:
                result[(b, *index)] = int(p.argmax())
            if scribble[(b, *index)] != ignore:
                result[(b, *index)] = scribble[(b, *index)]
    return result


def label_of_cells(certain, scribble, cell, ignore):
    """Class of most strokes in a cell, else that of more than half of it; the lower one of two."""
    size = [n // c for n, c in zip(scribble.shape[1:], cell, strict=True)]
    result = torch.full((len(scribble), *size), ignore)
    for b in range(len(scribble)):
        for index in itertools.product(*map(range, size)):
            at = (b, *(slice(i * c, (i + 1) * c) for i, c in zip(index, cell, strict=True)))
            drawn = [int((scribble[at] == k).sum()) for k in range(ignore)]
            sure = [int((certain[at] == k).sum()) for k in range(ignore)]
            if max(drawn):
                result[(b, *index)] = drawn.index(max(drawn))
            elif max(sure) > math.prod(cell) / 2:
                result[(b, *index)] = sure.index(max(sure))
    return result


def partial_binary_cross_entropy(logits, target):
    """``target`` has a channel per region and, last, one that is true where ignored."""
    values = []
    for b in range(len(logits)):
        for index in itertools.product(*map(range, logits.shape[2:])):
            if not target[(b, -1, *index)]:
                p = torch.sigmoid(logits[(b, slice(None), *index)])
                on = target[(b, slice(-1), *index)]
                values.append(
                    sum(-torch.log(q if o else 1 - q) for q, o in zip(p, on, strict=True))
                )
    return sum(values) / len(values) if values else logits.sum() * 0


def last_region(on):
    """0 without any, else the number, from 1, of the last region that is on."""
    label = 0
    for number, here in enumerate(on, start=1):
        if here:
            label = number
    return label


def region_certainty_label(z_main, z_auxiliary, target, threshold):
    nothing = target.shape[1]
    result = torch.full((len(target), *target.shape[2:]), nothing)
    for b in range(len(z_main)):
        for index in itertools.product(*map(range, target.shape[2:])):
            at = (b, slice(None), *index)
            p = [float(q) for q in (torch.sigmoid(z_main[at]) + torch.sigmoid(z_auxiliary[at])) / 2]
            entropies = [-sum(q * math.log(q) for q in (q1, 1 - q1) if q > 0) for q1 in p]
            if max(entropies) <= threshold:
                result[(b, *index)] = last_region([q > 0.5 for q in p])
            if not target[(b, -1, *index)]:
                result[(b, *index)] = last_region(target[(b, slice(-1), *index)])
    return result


def mixed(one, two, second, from_first):
    result = torch.empty_like(one)
    for b in range(len(one)):
        for index in itertools.product(*map(range, one.shape[2:])):
            at = (slice(None), *index)
            source = one[b] if from_first[(b, 0, *index)] else two[int(second[b])]
            result[b][at] = source[at]
    return result


def contrastive_loss(anchors, classes, queues, temperature):
    """``queues``: one list of vectors per class, valid entries only."""
    losses = []
    for anchor, own in zip(anchors, classes, strict=True):
        negatives = [q for c, queue in enumerate(queues) if c != own for q in queue]
        terms = []
        for positive in queues[int(own)]:
            numerator = torch.exp(anchor @ positive / temperature)
            denominator = numerator + sum(torch.exp(anchor @ q / temperature) for q in negatives)
            terms.append(-torch.log(numerator / denominator))
        if terms:
            losses.append(sum(terms) / len(terms))
    return sum(losses) / len(losses) if losses else anchors.sum() * 0


def enqueue(queues, embedding, label, size):
    """Append each image's class means to lists and keep the last ``size`` of each."""
    for b in range(len(embedding)):
        for c, queue in enumerate(queues):
            pixels = [embedding[b, :, p] for p in range(label.shape[1]) if label[b, p] == c]
            if pixels:
                queue.append(F.normalize(torch.stack(pixels).mean(0), dim=0))
                del queue[:-size]


def window_attention(module, table, x):
    """Softmax attention window by window, bias looked up pair by pair in (heads, offsets)."""
    batch, *size, channels = x.shape
    heads, d = module.heads, channels // module.heads
    padded = torch.zeros(batch, *module.padded, 3 * channels, dtype=x.dtype)
    inside = tuple(slice(f, f + s) for f, s in zip(module.before, size, strict=True))
    padded[(slice(None), *inside)] = module.qkv(x)
    result = torch.zeros(batch, *module.padded, channels, dtype=x.dtype)
    span = [2 * w - 1 for w in module.window]
    corners = itertools.product(
        *(range(0, p, w) for p, w in zip(module.padded, module.window, strict=True))
    )
    for corner in corners:
        offsets = list(itertools.product(*map(range, module.window)))
        at = [tuple(c + o for c, o in zip(corner, offset, strict=True)) for offset in offsets]
        for b in range(batch):
            for h in range(heads):
                q, k, v = (
                    torch.stack([padded[(b, *i)][n * channels + h * d :][:d] for i in at])
                    for n in range(3)
                )
                score = q @ k.T / math.sqrt(d)
                for i, j in itertools.product(range(len(at)), repeat=2):
                    row = 0
                    for a, width in enumerate(span):
                        row = row * width + offsets[i][a] - offsets[j][a] + module.window[a] - 1
                    score[i, j] += table[h, row]
                y = torch.softmax(score, 1) @ v
                for i, position in enumerate(at):
                    result[(b, *position)][h * d : (h + 1) * d] = y[i]
    return module.out(result[(slice(None), *inside)])
