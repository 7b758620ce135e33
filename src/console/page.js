// Without this the page is whole: snippets can be selected, and the buttons stay hidden.
const said = document.getElementById("said");

for (const button of document.querySelectorAll("button.copy")) {
  const code = button.closest(".snippet").querySelector("code");
  button.hidden = false;
  button.addEventListener("click", async () => {
    const copied = await copy(code);
    show(button, copied ? "Copied" : "Press Ctrl+C");
  });
}

/** Where the clipboard is not to be had, the text is selected for the keyboard. */
async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return false;
  }
}

function show(button, word) {
  clearTimeout(button.timer);
  button.textContent = word;
  said.textContent = word;
  button.timer = setTimeout(() => {
    button.textContent = "Copy";
    said.textContent = "";
  }, 2000);
}
