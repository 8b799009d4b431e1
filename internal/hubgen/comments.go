package hubgen

import (
	"go/ast"
	"go/token"
	"go/types"
	"strings"
)

// comments are the documentation of a package: that of types by their names, of their methods and fields as Type.Name.
type comments map[string]string

// documentation is what the source says of a type, or of its method or field.
func (p *program) documentation(t *types.TypeName, member string) string {
	if t == nil || t.Pkg() == nil {
		return ""
	}
	path := t.Pkg().Path()
	known, ok := p.comments[path]
	if !ok {
		if l := p.packages[path]; l != nil {
			// Without its source a package has no comments; it has been compiled, so nothing else is amiss.
			if trees, err := p.parse(l); err == nil {
				known = commentsOf(trees)
			}
		}
		p.comments[path] = known
	}
	if member == "" {
		return known[t.Name()]
	}
	return known[t.Name()+"."+member]
}

func commentsOf(trees []*ast.File) comments {
	c := comments{}
	for _, tree := range trees {
		for _, decl := range tree.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Recv != nil && len(decl.Recv.List) == 1 {
					c.add(receiver(decl.Recv.List[0].Type)+"."+decl.Name.Name, decl.Doc)
				}
			case *ast.GenDecl:
				if decl.Tok == token.TYPE {
					c.types(decl)
				}
			}
		}
	}
	return c
}

func (c comments) types(decl *ast.GenDecl) {
	for _, spec := range decl.Specs {
		spec := spec.(*ast.TypeSpec)
		doc := spec.Doc
		if !decl.Lparen.IsValid() {
			doc = decl.Doc
		}
		c.add(spec.Name.Name, doc, spec.Comment)
		body, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, field := range body.Fields.List {
			for _, name := range field.Names {
				c.add(spec.Name.Name+"."+name.Name, field.Doc, field.Comment)
			}
		}
	}
}

// add keeps the first comment there is.
func (c comments) add(name string, groups ...*ast.CommentGroup) {
	for _, g := range groups {
		if text := strings.TrimSpace(g.Text()); text != "" {
			c[name] = text
			return
		}
	}
}

// receiver is the name of the type that a method belongs to.
func receiver(x ast.Expr) string {
	for {
		switch e := x.(type) {
		case *ast.StarExpr:
			x = e.X
		case *ast.ParenExpr:
			x = e.X
		case *ast.IndexExpr:
			x = e.X
		case *ast.IndexListExpr:
			x = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}
