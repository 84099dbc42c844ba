"""Attention as prompt-to-prompt stores it, written out: every map of every step.

Nothing here imports the library. Cross- and self-attention of all places are computed
head by head, the unconditional half is thrown away, the rest added up over steps and
divided by their number; a resolution is the mean over all heads of its layers.
"""

import math

import torch


class Store:
    """Lists of [heads, pixels, tokens] maps by place, one list for every call."""

    def __init__(self, guided=True):
        self.guided, self.calls = guided, []

    def begin(self, *_):
        self.calls.append({})

    def keep(self, place, kind, maps):
        self.calls[-1].setdefault(f"{place}_{kind}", []).append(maps)

    def averages(self):
        """Place and kind -> maps of its layers, means over the calls."""
        total = {}
        for call in self.calls:
            for key, maps in call.items():
                for i, one in enumerate(maps):
                    total.setdefault(key, {}).setdefault(i, []).append(one)
        return {
            key: [sum(steps) / len(self.calls) for _, steps in sorted(layers.items())]
            for key, layers in total.items()
        }

    def aggregate(self, edge, places, image, images, kind="cross"):
        """Mean over heads and layers of one resolution: [pixels, tokens]."""
        rows = []
        for place in places:
            for maps in self.averages().get(f"{place}_{kind}", []):
                heads = maps.shape[0] // images
                if maps.shape[1] == edge**2:
                    rows += list(maps[image * heads : (image + 1) * heads])
        return sum(rows) / len(rows)


class Processor:
    """Attention by its formula, one image and one head at a time."""

    def __init__(self, store, place, kind):
        self.store, self.place, self.kind = store, place, kind

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
        text = hidden_states if self.kind == "self" else encoder_hidden_states
        query, key, value = attn.to_q(hidden_states), attn.to_k(text), attn.to_v(text)
        width = query.shape[-1] // attn.heads
        maps, mixed = [], []
        for b in range(len(query)):
            of_heads = []
            for h in range(attn.heads):
                part = slice(h * width, (h + 1) * width)
                scores = query[b, :, part] @ key[b, :, part].T / math.sqrt(width)
                maps.append(torch.softmax(scores, -1))
                of_heads.append(maps[-1] @ value[b, :, part])
            mixed.append(torch.cat(of_heads, -1))
        kept = maps[len(maps) // 2 :] if self.store.guided else maps
        if self.kind == "cross":  # of self-attention only that it was seen
            self.store.keep(self.place, self.kind, torch.stack(kept))
        return attn.to_out[1](attn.to_out[0](torch.stack(mixed)))


def watch(unet, guided=True):
    """Store what a U-Net attends to from now on; return the store."""
    store = Store(guided)
    unet.register_forward_pre_hook(store.begin)
    unet.set_attn_processor(
        {
            name: Processor(
                store, name.split("_")[0], "cross" if "attn2" in name else "self"
            )
            for name in unet.attn_processors
        }
    )
    return store
