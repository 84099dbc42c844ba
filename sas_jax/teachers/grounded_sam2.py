"""The teacher `grounded_sam2`: Grounding DINO boxes names, SAM 2 outlines the boxes.

Source: Ren et al., Grounded SAM, arXiv 2401.14159; Liu et al., arXiv 2303.05499.
"""

import dataclasses
from collections.abc import Sequence

import tokenizers
import torch
import transformers
from jaxtyping import Float

from sas_jax.registry import LoadOptions
from sas_jax.teachers import sam2
from sas_jax.teachers.contracts import Image, Segments
from sas_jax.teachers.folders import edges_of, load_network, load_tokenizer
from sas_jax.teachers.grounding import Prompt, prompts_of, spans_scored
from sas_jax.teachers.named_masks import (
    AskedConfig,
    NamedMasks,
    asked_config,
    asked_for,
    painted,
    shared_tower,
)
from sas_jax.teachers.pixels import IMAGENET, fitted, pixels_of
from sas_jax.teachers.towers import TorchTower

NAME = "grounded_sam2"
USUAL = AskedConfig(min_score=0.25)
EDGES = 800, 1333

Found = tuple[Float[torch.Tensor, "n 4"], list[float], list[str]]


class GroundedSam2(NamedMasks[list[Prompt]]):
    """Names to boxes to masks; where masks overlap the surer box has the pixel."""

    def __init__(
        self,
        detector: transformers.GroundingDinoForObjectDetection,
        segmenter: transformers.Sam2Model,
        tokenizer: tokenizers.Tokenizer,
        shared: TorchTower,
        weights: str,
        config: AskedConfig = USUAL,
        edges: tuple[int, int] = EDGES,
    ):
        """Take networks in evaluation mode; see `NamedMasks`.

        Args:
          detector: of boxes.
          segmenter: of boxes to masks.
          tokenizer: of the detector's text.
          shared: text tower of the space that labels are aligned to.
          weights: names the weights of both.
          config: what is asked for.
          edges: shorter and longer side of the image for the detector, at most.
        """
        self.config, self._edges, self._tokenizer = config, edges, tokenizer
        networks = {"detector": detector, "segmenter": segmenter}
        how = {
            "asked": dataclasses.asdict(config),
            "resize": ["PIL bilinear", edges],
            "tokens": tokenizer.to_str(),
        }
        super().__init__(NAME, networks, shared, weights, how)

    def names_for(self, vocabulary: Sequence[str] | None) -> list[Prompt]:
        """See `NamedMasks`."""
        names = asked_for(vocabulary, self.config)
        most = int(self.networks["detector"].config.max_text_len)
        return prompts_of(names, self._tokenizer, most)

    def segment_one(self, image: Image, names: list[Prompt]) -> Segments:
        """See `NamedMasks`."""
        boxes, scores, labels = self.boxes(image, names)
        masks = sam2.in_boxes(self.networks["segmenter"], image, boxes)
        return painted(masks, scores, labels, image.shape[:2])

    def boxes(self, image: Image, prompts: Sequence[Prompt]) -> Found:
        """Return the surest boxes, (left, top, right, bottom) in pixels of the image.

        With the probability and the name of each. A box's name is the one of whose
        tokens one is the likeliest.
        """
        seen = fitted(image.shape[:2], *self._edges)
        pixels = pixels_of(image, seen, IMAGENET).to(self.device)
        found = [self._asked(pixels, prompt) for prompt in prompts]
        boxes = torch.cat([each[0] for each in found])
        scores = torch.cat([each[1] for each in found])
        labels = [label for each in found for label in each[2]]
        best = scores.argsort(descending=True, stable=True)
        best = best[scores[best] > self.config.min_score][: self.config.most]
        (height, width), (x, y, w, h) = image.shape[:2], boxes[best].unbind(1)
        sides = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1).clamp(0, 1)
        sides = sides * torch.tensor([width, height, width, height])
        return sides, scores[best].tolist(), [labels[i] for i in best.tolist()]

    def _asked(self, pixels: Float[torch.Tensor, "1 3 h w"], prompt: Prompt):
        ids = torch.tensor([prompt.ids], device=self.device)
        out = self.networks["detector"](pixel_values=pixels, input_ids=ids)
        scores, best = spans_scored(out.logits[0].float().cpu().sigmoid(), prompt.spans)
        return out.pred_boxes[0].float().cpu(), scores, [prompt.names[i] for i in best]


def load(options: LoadOptions) -> GroundedSam2:
    """Load the teacher for the registry, with the text tower of labels.

    Raises:
      WeightsMissing: where there is no folder of the detector, or of SAM 2.
      InputError: for files that do not fill their network.
    """
    kind = transformers.GroundingDinoForObjectDetection
    found = load_network(NAME, kind, transformers.GroundingDinoConfig, options)
    segmenter = sam2.load_beside(found.folder, options, what=NAME)
    both = dict.fromkeys((found.weights, segmenter.weights))
    tokens = int(found.network.config.text_config.vocab_size)
    made = GroundedSam2(
        found.network,
        segmenter.network,
        load_tokenizer(found.folder, NAME, tokens),
        shared_tower(options, found.weights),
        "+".join(both),
        asked_config(options, USUAL),
        edges_of(found.folder, EDGES),
    )
    made.to(options.device)
    return made
