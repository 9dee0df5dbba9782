"""The Recommender over HTTP: limits, keys and fallbacks around it; it ranks nothing itself."""
