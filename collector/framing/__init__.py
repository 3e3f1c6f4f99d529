"""Where one record ends and the next begins: from raw bytes as they arrive to whole lines. Pure, and bounded."""
