import React from "react";

/** Keys that bubble to the focused element of the tab, which surrounds this page. */
export function useKeysOfParent(frame: React.RefObject<HTMLElement>, handle: (event: React.KeyboardEvent) => void): void {
  const latest = React.useRef(handle);
  latest.current = handle;
  React.useEffect(() => {
    const parent = frame.current?.closest<HTMLElement>('[data-cy="dc-clusters"]');
    const listen = (event: KeyboardEvent): void => {
      if (event.target === parent) latest.current(event as unknown as React.KeyboardEvent);
    };
    parent?.addEventListener("keydown", listen);
    return () => parent?.removeEventListener("keydown", listen);
  }, [frame]);
}
