import * as fos from "@fiftyone/state";
import React from "react";

/**
 * Lets the grid show what edits have changed. The App's operator `reload_samples`, which follows every edit, draws the
 * grid again from pages that the App has kept; those of before the last invalidation are read from the server instead.
 */
export function useFreshGrid(): void {
  React.useEffect(() => fos.getCurrentEnvironment?.().commitUpdate((store) => store.invalidateStore()), []);
}
