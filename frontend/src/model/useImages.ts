import React from "react";

import type { Ask, Image, ImageOrder } from "./api";

export const PAGE_SIZE = 200;

export interface Images {
  readonly total: number;
  /** False until the first answer about the cluster, or about similar images, is there. */
  readonly loaded: boolean;
  at(index: number): Image | undefined;
  /** Load the pages at these offsets unless they are there or on their way. */
  need(offsets: readonly number[]): void;
}

interface Pages {
  readonly of: string;
  readonly query: string;
  readonly total: number;
  readonly images: ReadonlyMap<number, Image>;
}

export interface AskedImages {
  readonly key: string;
  readonly cluster: string;
  readonly order: ImageOrder;
  readonly label_field: string | null;
  readonly seed: string;
  /** Ids: instead of the images of the cluster, those similar to these, in some clusters. */
  readonly like: readonly string[] | null;
  readonly clusters: readonly string[];
}

/**
 * Images of a cluster, loaded by pages, or images similar to some. Another name, order or version loads them again; pages
 * that were shown stay visible until the new ones arrive.
 */
export function useImages(ask: Ask, asked: AskedImages, onError: (error: unknown) => void): Images {
  const { key, cluster, order, label_field, seed } = asked;
  const query = JSON.stringify(asked.like && { ids: asked.like, clusters: asked.clusters });
  const [pages, setPages] = React.useState<Pages>({ of: "", query: "", total: 0, images: new Map() });
  const current = JSON.stringify([key, cluster, order, label_field, seed, query]);
  const latest = React.useRef(current);
  const requested = React.useRef(new Set<number>());
  if (latest.current !== current) {
    latest.current = current;
    requested.current = new Set();
  }

  const need = React.useCallback(
    (offsets: readonly number[]) => {
      const like = JSON.parse(query) as { ids: string[]; clusters: string[] } | null;
      for (const offset of offsets) {
        if (requested.current.has(offset)) continue;
        requested.current.add(offset);
        const answer = like
          ? ask("similar", { key, ...like, label_field, n: PAGE_SIZE })
          : ask("images", { key, cluster, order, label_field, offset, limit: PAGE_SIZE });
        answer.then(
          (answer) => {
            if (latest.current !== current) return;
            setPages((pages) => {
              const images = new Map<number, Image>(pages.of === current ? pages.images : undefined);
              answer.images.forEach((image, at) => images.set(offset + at, image));
              return { of: current, query, total: answer.total, images };
            });
          },
          (error) => {
            requested.current.delete(offset);
            if (latest.current === current) onError(error);
          },
        );
      }
    },
    [ask, cluster, current, key, label_field, onError, order, query],
  );
  React.useEffect(() => need([0]), [need]);
  // similar images and those of the cluster do not stay visible for each other
  const shown = pages.query === query ? pages : null;
  const at = React.useCallback((index: number) => shown?.images.get(index), [shown]);
  return { total: shown?.total ?? 0, loaded: shown !== null, at, need };
}
