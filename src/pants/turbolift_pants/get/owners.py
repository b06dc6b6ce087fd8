# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Who owns a tagged file: one `python_source`, or one for each parametrisation (a resolve, mostly)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from pants.backend.python.target_types import PythonGeneratingSourcesBase, PythonSourceField
from pants.engine.addresses import Address
from pants.engine.internals.build_files import AddressFamilyDir, OptionalAddressFamily
from pants.engine.internals.graph import Owners, OwnersRequest
from pants.engine.internals.parametrize import Parametrize
from pants.engine.rules import Get, MultiGet, collect_rules, rule
from pants.engine.target import InvalidFieldException, RegisteredTargetTypes, SourcesField, Targets
from pants.engine.unions import UnionMembership
from pants.source.filespec import FilespecMatcher
from pants.util.logging import LogLevel

from turbolift_pants.steps import ancestors


@dataclass(frozen=True)
class ParametrisedSources:
    """A target that parametrises the python files it owns: globs (a "!" excludes), and the parameters of each owner it gives."""

    globs: tuple[str, ...]
    parameters: tuple[tuple[tuple[str, str], ...], ...]

    def owns(self, path: str) -> bool:
        matcher = FilespecMatcher(
            [g for g in self.globs if not g.startswith("!")], [g[1:] for g in self.globs if g.startswith("!")]
        )
        return bool(matcher.matches([path]))


@dataclass(frozen=True)
class ParametrisedSourcesRequest:
    """The parametrised sources that own files of `folder`."""

    folder: str


@dataclass(frozen=True)
class AllParametrisedSources:
    sources: tuple[ParametrisedSources, ...]

    def of(self, path: str) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Return the parameters of each owner of `path`; of the one without parameters, where there is no such target."""
        found = {p for source in self.sources if source.owns(path) for p in source.parameters}
        return tuple(sorted(found)) or ((),)


@rule(desc="Find parametrised sources", level=LogLevel.DEBUG)
async def find_parametrised_sources(
    request: ParametrisedSourcesRequest, types: RegisteredTargetTypes, union_membership: UnionMembership
) -> AllParametrisedSources:
    # As BUILD files say it: asking for a file's owners while targets are generated would be a cycle.
    families = await MultiGet(
        Get(OptionalAddressFamily, AddressFamilyDir(folder)) for folder in ancestors(request.folder)
    )
    found = []
    for optional in families:
        family = optional.address_family
        if family is None:
            continue
        for address, adaptor in family.addresses_to_target_adaptors.items():
            target_type = types.aliases_to_types.get(adaptor.type_alias)
            if target_type is None or not target_type.class_has_field(SourcesField, union_membership):
                continue
            sources = target_type.class_get_field(SourcesField, union_membership)
            if not issubclass(sources, (PythonGeneratingSourcesBase, PythonSourceField)):
                continue
            fields = {**family.defaults.get(adaptor.type_alias, {}), **adaptor.kwargs}
            if not any(isinstance(value, Parametrize) for value in fields.values()):
                continue
            globs = fields.get(sources.alias) or sources.default or ()
            globs = (globs,) if isinstance(globs, str) else tuple(globs)
            found.append(
                ParametrisedSources(
                    tuple(_below(family.namespace, glob) for glob in globs),
                    tuple(
                        tuple(sorted(expanded.parameters.items()))
                        for expanded, _ in Parametrize.expand(address, fields)
                    ),
                )
            )
    return AllParametrisedSources(tuple(found))


def _below(folder: str, glob: str) -> str:
    return f"!{os.path.join(folder, glob[1:])}" if glob.startswith("!") else os.path.join(folder, glob)


@dataclass(frozen=True)
class OwningSourceRequest:
    """Which python source owns the file `path`, asked for by the target `address`."""

    path: str
    address: Address


@dataclass(frozen=True)
class OwningSource:
    address: Address


@rule(desc="Find the owner of a tagged file", level=LogLevel.DEBUG)
async def find_owning_source(request: OwningSourceRequest) -> OwningSource:
    owners = await Get(Owners, OwnersRequest((request.path,)))
    targets = await Get(Targets, Owners, owners)
    sources = [target.address for target in targets if target.has_field(PythonSourceField)]
    if not sources:
        raise InvalidFieldException(
            f"{request.address}: no python_source target owns {request.path}, so its dependencies cannot be inferred. "
            "Run `pants tailor`, or add python_sources() to the BUILD file."
        )
    if len(sources) > 1:
        mine = request.address.parameters
        sources = [s for s in sources if all(mine.get(k) == v for k, v in s.parameters.items())] or sources
    if len(sources) > 1:
        raise InvalidFieldException(
            f"{request.address}: {request.path} is owned by {', '.join(map(str, sources))}. A function has one closure: leave one "
            "owner, or give one target all of them by parametrize(...)."
        )
    return OwningSource(sources[0])


def rules() -> list[Any]:
    return [*collect_rules()]
