"""Every product that `chosctl install` knows."""

from __future__ import annotations

from chosns.integrate.arc import Arc
from chosns.integrate.globus import Globus
from chosns.integrate.htcondor import HtCondor
from chosns.integrate.kmod import KernelModule
from chosns.integrate.lsf import Lsf
from chosns.integrate.model import Product
from chosns.integrate.openpbs import OpenPbs
from chosns.integrate.pam import Pam
from chosns.integrate.sge import GridEngine
from chosns.integrate.slurm import Slurm
from chosns.integrate.torque import Torque

_ALL = (Pam(), Slurm(), GridEngine(), Lsf(), Torque(), OpenPbs(), HtCondor(), Globus(), Arc(), KernelModule())
PRODUCTS: dict[str, Product] = {product.name: product for product in _ALL}
