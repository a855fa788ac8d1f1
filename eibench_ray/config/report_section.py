"""The section `report`: the page that every run writes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from eibench_ray.config.section import Frozen


class ReportConfig(Frozen):
    """The page `report.html` in the run's folder, and what it holds of the samples.

    Attributes:
        samples: samples of each dataset whose texts (prompts, answers, verdicts) it holds, the first; 0 for none.
        pictures: `none`, so that a page that is sent on shows nobody's pictures by surprise; or `thumbnails`.
    """

    html: bool = True
    samples: Annotated[int, Field(ge=0)] = 20_000
    pictures: Literal["none", "thumbnails"] = "none"
