import * as fos from "@fiftyone/state";
import React from "react";

/**
 * Lets the grid show what edits have changed. The App's operator `reload_samples`, which follows every edit, draws the
 * grid again from pages that the App has kept. Once Relay's store was invalidated, it reads from the server what was
 * written before, and every query that it knows no time of. It notes none for the pages of the grid: no component
 * retains them, and the App's store has no release buffer. So one invalidation is enough, also for pages that are
 * loaded later.
 */
export function useFreshGrid(): void {
  React.useEffect(() => fos.getCurrentEnvironment?.()?.commitUpdate((store) => store.invalidateStore()), []);
}
