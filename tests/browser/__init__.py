"""The page in a real browser. Needs the extra `browser` and Chromium; skipped where one is missing."""
