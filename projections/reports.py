"""Every projection that there is. Another report is one module and one word here.

Texts come first, so that a promise just shown can be read already; the views of the others build on theirs.
"""

from typing import Final

from projections.disclosures import DISCLOSURES
from projections.findings.report import FINDINGS_REPORT
from projections.followups import FOLLOWUPS
from projections.promises import PROMISES
from projections.scorecard import SCORECARD
from projections.texts import TEXTS
from projections.timeline import TIMELINE
from projections.troubles.report import TROUBLES
from projections.versions import Definition

ALL: Final[tuple[Definition, ...]] = (
    TEXTS,
    PROMISES,
    FOLLOWUPS,
    TIMELINE,
    FINDINGS_REPORT,
    DISCLOSURES,
    TROUBLES,
    SCORECARD,
)
