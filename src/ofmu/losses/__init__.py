"""Losses: pure functions of the rows of a batch. Every one returns a value per example and is minimised."""

from ofmu.losses.bounded import clip as clip
from ofmu.losses.bounded import token_probability as token_probability
from ofmu.losses.bounded import uniform as uniform
from ofmu.losses.divergence import kl as kl
from ofmu.losses.level import Sides as Sides
from ofmu.losses.level import by_rank as by_rank
from ofmu.losses.level import in_place as in_place
from ofmu.losses.level import level as level
from ofmu.losses.level import token_level as token_level
from ofmu.losses.likelihood import nll as nll
from ofmu.losses.preference import npo as npo
from ofmu.losses.preference import simnpo as simnpo
from ofmu.losses.removal import removal as removal
from ofmu.losses.rows import Rows as Rows
