"""Import DICOM files as samples."""
