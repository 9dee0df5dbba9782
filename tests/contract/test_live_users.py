"""The state in memory keeps the contract."""

from __future__ import annotations

import pytest
from shared_state_contract import Make, SharedStateContract

from kgrec.serving.live_users import LiveUsers


class TestLiveUsers(SharedStateContract):
    @pytest.fixture
    def make(self) -> Make:
        return LiveUsers
