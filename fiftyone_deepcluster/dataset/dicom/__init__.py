"""DICOM files become samples."""
