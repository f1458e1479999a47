import { Autocomplete, Button, Dialog, DialogActions, DialogContent, DialogTitle, TextField, Typography } from "@mui/material";
import React from "react";

/** Buttons with names of clusters, which may be long: one line that ends with dots. */
const LONG = { display: "block", minWidth: 0, overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" } as const;

/**
 * A form: Enter carries it out, Ctrl+Enter the other action, Escape closes it. Then its tab takes the focus back, without
 * scrolling: the dialog itself would scroll the App's page by some pixels.
 */
export function Frame(props: {
  title: string;
  action: string;
  ready: boolean;
  name: string;
  onClose(): void;
  onDo(): void;
  /** What the form can do besides; null: nothing now. */
  other?: { readonly action: string; onDo(): void } | null;
  children: React.ReactNode;
}) {
  return (
    <Dialog open onClose={props.onClose} disableRestoreFocus fullWidth maxWidth="sm" data-cy={`dc-form-${props.name}`}>
      <form
        onKeyDown={(event) => {
          // the App listens to keys on the document: ` would open its list of operators while a name is typed
          if (event.key === "`") event.stopPropagation();
          if (event.key === "Enter" && event.repeat) event.preventDefault(); // a key held down must not answer what it has just shown
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && props.other) {
            event.preventDefault();
            event.stopPropagation();
            props.other.onDo();
          }
        }}
        onSubmit={(event) => {
          event.preventDefault();
          event.stopPropagation();
          if (props.ready) props.onDo();
        }}
      >
        <DialogTitle noWrap title={props.title}>
          {props.title}
        </DialogTitle>
        <DialogContent sx={{ "&&": { pt: 1 } }}>{props.children}</DialogContent>
        <DialogActions>
          <Button onClick={props.onClose} sx={{ flexShrink: 0 }}>
            Cancel
          </Button>
          {props.other && (
            <Button onClick={props.other.onDo} title={`${props.other.action} (Ctrl+Enter)`} sx={LONG} data-cy="dc-dialog-other">
              {props.other.action}
            </Button>
          )}
          <Button type="submit" variant="contained" disabled={!props.ready} title={props.action} sx={LONG} data-cy="dc-dialog-ok">
            {props.action}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

/** On focus: what is typed replaces what a dialog proposes. */
export function selectText(event: React.FocusEvent<HTMLInputElement | HTMLTextAreaElement>): void {
  event.target.select();
}

/** A name, chosen from suggestions or new. Escape closes the dialog at once, also where suggestions are open. */
export function NameField(props: {
  label: string;
  value: string;
  options: readonly string[];
  onChange(value: string): void;
  onEscape(): void;
}) {
  return (
    <Autocomplete
      onKeyDownCapture={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        props.onEscape();
      }}
      freeSolo
      openOnFocus
      autoHighlight={false}
      options={[...props.options]}
      filterOptions={suggestions}
      inputValue={props.value}
      onInputChange={(_, value) => props.onChange(value)}
      renderInput={(params) => (
        <TextField {...params} label={props.label} autoFocus onFocus={selectText} inputProps={{ ...params.inputProps, "data-cy": "dc-dialog-name" }} />
      )}
    />
  );
}

/** Names that contain what is typed; none once a name is complete, as the list would cover the buttons. */
function suggestions(options: string[], { inputValue }: { inputValue: string }): string[] {
  const typed = inputValue.trim().toLowerCase();
  if (options.includes(inputValue.trim())) return [];
  return options.filter((name) => name.toLowerCase().includes(typed)).slice(0, 100);
}

/** What is wrong with the form. */
export function Problem({ text }: { text: string }) {
  return text === "" ? null : (
    <Typography color="error" role="alert" sx={{ overflowWrap: "anywhere" }} data-cy="dc-dialog-problem">
      {text}
    </Typography>
  );
}
