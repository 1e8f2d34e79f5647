"""What a Go executable says about itself: functions, code, types, runtime layout."""
