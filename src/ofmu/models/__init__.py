"""Models: read, write, adapt, shard. Importing this room loads torch; ``import ofmu`` does not.

The import also makes the package's own classifiers (``ofmu_cifar_resnet``, ``ofmu_convnet``) known to the
Auto classes: after ``import ofmu.models``, ``AutoModelForImageClassification.from_pretrained`` loads their
folders.
"""

from ofmu.models import convnet as convnet
from ofmu.models import resnet as resnet
