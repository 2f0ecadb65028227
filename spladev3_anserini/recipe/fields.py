"""The types of values that recipes and collections share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True,
                                        pattern=r"^[^\x00-\x1f\x7f]*$")]
#: Documents, bytes, parameters: beyond this it is a mistake.
Count = Annotated[int, Field(gt=0, le=10**15)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]


class Section(BaseModel):
    """A part of a file. It takes no key that it does not know, and no value of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def stated(self) -> dict[str, Any]:
        """The values that are not left out, as a result records them."""
        return self.model_dump(exclude_none=True)
