import { getSampleSrc } from "@fiftyone/state";
import React from "react";

import type { AuditItem } from "../../model/auditApi";

const IMAGES = 6;
const WITH_NEIGHBORS = 2;

/** Loads the images of the next labels, so that they are there when they are shown. */
export function useAhead(items: readonly AuditItem[]): void {
  const held = React.useRef(new Map<string, HTMLImageElement>());
  React.useEffect(() => {
    const next = items.slice(1, 1 + IMAGES);
    const near = items.slice(1, 1 + WITH_NEIGHBORS).flatMap((item) => item.neighbors);
    const paths = new Set([...next, ...near].map((picture) => picture.path));
    // an image that is held is not loaded again when it is drawn
    for (const path of paths) {
      if (held.current.has(path)) continue;
      const image = new Image();
      image.src = getSampleSrc(path);
      held.current.set(path, image);
    }
    for (const path of held.current.keys()) if (!paths.has(path)) held.current.delete(path);
  }, [items]);
}
