"""`sources:` of bridge.yaml: each with how its sender proves who it is, and the settings of its type."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.config.auth import read_auth
from bridge.config.fields import read_settings
from bridge.config.file_loading import FileLoading, Types
from bridge.config.models import AccountSettings, SourceSettings, source_model
from bridge.config.yaml_reader import Path as YamlPath
from bridge.render import nearest
from bridge.sources.base import AccountSetting, NoAuth, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Senders:
    """Reads sources; what is wrong with them goes to the problems of the loading."""

    loading: FileLoading
    types: Types

    def read(self, name: str, value: Any, path: YamlPath) -> SourceSettings | None:
        """The source that stands there; None when it cannot be read at all."""
        kind = value.get("type") if isinstance(value, dict) else None
        made = self.types.get(kind) if isinstance(kind, str) else None
        declared: Mapping[str, Setting] = getattr(made, "settings", {})
        one = self.loading.model(source_model(declared), value, path, "source")
        if one is None or not self.loading.known_type(one.type, self.types, path, "source") or made is None:
            return None
        words: frozenset[str] = getattr(made, "signature_words", frozenset())
        auth = read_auth(one.auth, (*path, "auth"), made.signature_keys, self.loading.secrets, self.loading, words)
        settings = read_settings(declared, one, path, self.loading.tree, self.loading)
        for key, setting in declared.items():
            if key not in one.model_fields_set and getattr(auth, "kind", None) in getattr(setting, "needed_by", ()):
                self.loading.error(path, f"the source has no '{key}'", f"add '{key}:' ({setting.about})")
        return SourceSettings(name=name, type=one.type, auth=NoAuth() if auth is None else auth, settings=settings)

    def check_watched(
        self, sources: Mapping[str, SourceSettings], accounts: Mapping[str, AccountSettings], known: set[str]
    ) -> None:
        """The accounts that sources name: each has to be there, and of the vendor whose events the source reads."""
        for name, source in sources.items():
            for key, setting in getattr(self.types[source.type], "settings", {}).items():
                if not isinstance(setting, AccountSetting):
                    continue
                at, account = ("sources", name, key), str(source.settings.get(key) or "")
                if key not in source.settings:
                    hint = f"add '{key}: ' ({setting.about})"
                    self.loading.error(("sources", name), f"the source has no '{key}'", hint)
                elif account and account not in known:
                    hint = nearest(account, sorted(known), "accounts")
                    self.loading.error(at, f"account {self.loading.shown(at, account)} does not exist", hint)
                elif account in accounts and accounts[account].type != setting.type:
                    sentence = f"account '{account}' is of type {accounts[account].type}, not {setting.type}"
                    fitting = sorted(n for n, one in accounts.items() if one.type == setting.type)
                    self.loading.error(at, sentence, f"accounts: {', '.join(fitting) or 'none fits'}")
