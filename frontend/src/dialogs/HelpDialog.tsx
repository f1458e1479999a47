import { Box, Dialog, DialogContent, DialogTitle, Typography } from "@mui/material";
import React from "react";

interface Shown {
  readonly shown: string;
  readonly text: string;
  readonly pages: readonly string[];
}

interface Props {
  bindings: readonly Shown[];
  /** Title of every page of the tab, by its name. */
  pages: Readonly<Record<string, string>>;
  onClose(): void;
}

/** The keys of a tab: those of all its pages, then those of each. */
export function HelpDialog({ bindings, pages, onClose }: Props) {
  const names = Object.keys(pages);
  const everywhere = bindings.filter((binding) => names.every((name) => binding.pages.includes(name)));
  const only = (name: string): Shown[] => bindings.filter((binding) => binding.pages.includes(name) && !everywhere.includes(binding));
  return (
    <Dialog open onClose={onClose} disableRestoreFocus data-cy="dc-help">
      <DialogTitle>Keys</DialogTitle>
      <DialogContent>
        <Keys title={Object.values(pages).join(" and ")} bindings={everywhere} />
        {names.map((name) => (
          <Keys key={name} title={pages[name] ?? name} bindings={only(name)} />
        ))}
      </DialogContent>
    </Dialog>
  );
}

function Keys({ title, bindings }: { title: string; bindings: readonly Shown[] }) {
  return (
    <>
      <Typography variant="subtitle2" component="h3" sx={{ mt: 1 }}>
        {title}
      </Typography>
      {bindings.map(({ shown, text }) => (
        <Box key={shown + text} sx={{ display: "flex", gap: 2, py: 0.25 }}>
          <Typography component="kbd" sx={{ minWidth: 170, flexShrink: 0, fontFamily: "monospace" }}>
            {shown}
          </Typography>
          <Typography>{text}</Typography>
        </Box>
      ))}
    </>
  );
}
