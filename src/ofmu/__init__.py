"""Machine unlearning that forgets, keeps what should stay, and shows both."""

from ofmu.version import __version__ as __version__
