"""DICOM: file search, headers, pixels, and rendering to PNG."""
