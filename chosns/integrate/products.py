"""Every product that `chosctl install` knows."""

from __future__ import annotations

from chosns.integrate.model import Product
from chosns.integrate.pam import Pam

PRODUCTS: dict[str, Product] = {product.name: product for product in (Pam(),)}
