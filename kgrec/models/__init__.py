"""Everything that scores items: the contract, baselines, text and graph towers."""
