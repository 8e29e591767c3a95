"""Files to examples to batches. Reading loads no torch; :mod:`.tokens` and :mod:`.images` make tensors."""

from ofmu.data.examples import ImageExamples, Message, TextExample, TextExamples
from ofmu.data.formats import FORMATS, read
from ofmu.data.halves import deal, steer_report
from ofmu.data.splits import check_disjoint, overlap, split_by_ids
from ofmu.data.streams import Stream

__all__ = [
    "FORMATS",
    "ImageExamples",
    "Message",
    "Stream",
    "TextExample",
    "TextExamples",
    "check_disjoint",
    "deal",
    "overlap",
    "read",
    "split_by_ids",
    "steer_report",
]
