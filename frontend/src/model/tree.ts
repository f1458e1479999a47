// Where the nodes of the category tree are drawn.
import type { TreeNode } from "./api";

export interface Place {
  readonly node: TreeNode;
  readonly depth: number;
  /** Number of images to the left of the node. */
  readonly start: number;
}

/** Depth and start of every node; siblings keep their order within their parent. */
export function places(nodes: readonly TreeNode[]): Place[] {
  const found: Place[] = [];
  const visit = (parent: string, depth: number, start: number): void => {
    let at = start;
    for (const node of nodes.filter((node) => node.parent === parent)) {
      found.push({ node, depth, start: at });
      if (!node.leaf) visit(node.name, depth + 1, at);
      at += node.size;
    }
  };
  visit("", 0, 0);
  return found;
}
