"""The types of values that recipes and collections share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from spladev3_anserini.rankers.templates import TEMPLATES

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True,
                                        pattern=r"^[^\x00-\x1f\x7f]*$")]
#: A number of documents, bytes or parameters; a larger one is surely a mistake.
Count = Annotated[int, Field(gt=0, le=10**15)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _known_template(name: str) -> str:
    if name not in TEMPLATES:
        raise ValueError(f"expected one of {', '.join(TEMPLATES)}")
    return name


TemplateName = Annotated[str, AfterValidator(_known_template)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]


class Section(BaseModel):
    """A part of a recipe or collection file; unknown keys and values of other types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def stated_values(self) -> dict[str, Any]:
        """Returns the values that the file states (not None), in the form a result records."""
        return self.model_dump(exclude_none=True)
