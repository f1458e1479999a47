import React from "react";

import type { Ask, Image, ImageOrder } from "./api";

export const PAGE_SIZE = 200;

export interface Images {
  readonly total: number;
  at(index: number): Image | undefined;
  /** Load the pages at these offsets unless they are there or on their way. */
  need(offsets: readonly number[]): void;
}

/**
 * Images of a cluster, loaded by pages. Another cluster, order or version empties them; pages that were
 * shown stay visible until the new ones arrive.
 */
export function useImages(
  ask: Ask,
  asked: { key: string; cluster: string; order: ImageOrder; label_field: string | null; seed: string },
  onError: (error: unknown) => void,
): Images {
  const { key, cluster, order, label_field, seed } = asked;
  const [pages, setPages] = React.useState<{ of: string; total: number; images: Map<number, Image> }>({
    of: "",
    total: 0,
    images: new Map(),
  });
  const current = JSON.stringify([key, cluster, order, label_field, seed]);
  const latest = React.useRef(current);
  const requested = React.useRef(new Set<number>());
  if (latest.current !== current) {
    latest.current = current;
    requested.current = new Set();
  }

  const need = React.useCallback(
    (offsets: readonly number[]) => {
      for (const offset of offsets) {
        if (requested.current.has(offset)) continue;
        requested.current.add(offset);
        ask("images", { key, cluster, order, label_field, offset, limit: PAGE_SIZE }).then(
          (answer) => {
            if (latest.current !== current) return;
            setPages((pages) => {
              const images = new Map(pages.of === current ? pages.images : undefined);
              answer.images.forEach((image, at) => images.set(offset + at, image));
              return { of: current, total: answer.total, images };
            });
          },
          (error) => {
            requested.current.delete(offset);
            if (latest.current === current) onError(error);
          },
        );
      }
    },
    [ask, cluster, current, key, label_field, onError, order],
  );
  React.useEffect(() => need([0]), [need]);
  const at = React.useCallback((index: number) => pages.images.get(index), [pages]);
  return { total: pages.total, at, need };
}
