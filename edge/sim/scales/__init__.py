"""The voices of simulated scales: one file for a protocol, one line here; the names are the drivers'."""

from __future__ import annotations

from collections.abc import Callable

from edge.sim.scale import Voice
from edge.sim.scales.and_standard import AndStandard
from edge.sim.scales.cas_22 import Cas22
from edge.sim.scales.cas_ecr12 import CasEcr12
from edge.sim.scales.cas_os2 import CasOs2, CasOs2Stream
from edge.sim.scales.dibal import dibal
from edge.sim.scales.digi_781 import digi_781
from edge.sim.scales.epelsa import epelsa
from edge.sim.scales.magellan import magellan
from edge.sim.scales.mt_sics import MtSics
from edge.sim.scales.nci_scp01 import NciScp01
from edge.sim.scales.sartorius_sbi import sartorius_sbi
from edge.sim.scales.toledo_8217 import Toledo8217
from edge.sim.scales.toledo_continuous import plain, with_checksum
from edge.sim.scales.toledo_prix import toledo_prix
from edge.sim.scales.yaohua_a9 import yaohua_a9

VOICES: dict[str, Callable[[], Voice]] = {
    "and-standard": AndStandard,
    "cas-22": Cas22,
    "cas-ecr12": CasEcr12,
    "cas-os2": CasOs2,
    "cas-os2-stream": CasOs2Stream,
    "dibal": dibal,
    "digi-781": digi_781,
    "epelsa": epelsa,
    "magellan": magellan,
    "mt-sics": MtSics,
    "nci-scp01": NciScp01,
    "sartorius-sbi": sartorius_sbi,
    "toledo-8217": Toledo8217,
    "toledo-continuous": with_checksum,
    "toledo-continuous-plain": plain,
    "toledo-prix": toledo_prix,
    "yaohua-a9": yaohua_a9,
}
