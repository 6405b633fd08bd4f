"""From time tags to detections per slot: clock, frame, gate, counting."""
