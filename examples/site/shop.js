// The shop of the examples: everything happens in the page, and nothing is kept but a
// session's cookie.
const teas = [
  { id: 'sencha', name: 'Sencha', kind: 'green', price: 7 },
  { id: 'gunpowder', name: 'Gunpowder', kind: 'green', price: 5 },
  { id: 'assam', name: 'Assam', kind: 'black', price: 6 },
  { id: 'rooibos', name: 'Rooibos', kind: 'herbal', price: 4 },
]

const asked = new URLSearchParams(location.search)
const $ = (id) => document.getElementById(id)

// list shows teas, each with a link to order it.
function list(into, some) {
  for (const tea of some) {
    const item = document.createElement('li')
    item.className = 'tea'
    const link = document.createElement('a')
    link.href = 'order.html?tea=' + tea.id
    link.textContent = 'Order ' + tea.name
    item.append(`${tea.name}, ${tea.kind}, ${tea.price} EUR `, link)
    into.append(item)
  }
}
